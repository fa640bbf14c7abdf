"""Music made from nothing: seeded songs with their four stems, for training, the demo song and tests. numpy only."""

from separation.starter.synthesis.palette import TRAINING, WITHHELD, Palette
from separation.starter.synthesis.signal import RATE
from separation.starter.synthesis.song import STEMS, synthesise

__all__ = ["RATE", "STEMS", "TRAINING", "WITHHELD", "Palette", "synthesise"]
