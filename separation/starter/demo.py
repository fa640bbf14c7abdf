"""`python -m separation.starter.demo PATH`: writes the demo song, a synthesised mixture, as a 16-bit WAV.

Owns the choice of the song. numpy only; still run as a child of its own, so that no web process pays for numpy.
"""

import sys
import wave
from pathlib import Path

import numpy as np

from separation.starter.synthesis import RATE, synthesise

DEMO_SEED = 20_261_124
SECONDS = 30.0


def write_demo(path: Path, seconds: float = SECONDS, seed: int = DEMO_SEED) -> None:
    """Write the mixture of a song of that seed: stereo, 44.1 kHz, 16 bit. Raises OSError."""
    mixture = synthesise(seed, seconds, full=True).sum(axis=0)
    samples = np.round(np.clip(mixture, -1.0, 1.0) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.T.tobytes())


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m separation.starter.demo PATH\n")
        return 2
    write_demo(Path(arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
