"""The demo song: a WAV that any player opens."""

import wave
from pathlib import Path

import numpy as np
import pytest

from separation.starter import demo


def test_the_demo_song_is_thirty_seconds_of_stereo_at_16_bit(tmp_path: Path) -> None:
    demo.write_demo(tmp_path / "demo.wav")
    with wave.open(str(tmp_path / "demo.wav"), "rb") as file:
        form = (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes())
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert form == (2, 2, 44_100, 30 * 44_100)
    assert 3_000 < np.abs(samples.astype(int)).max() <= 32_767


def test_without_a_path_the_demo_says_how_to_call_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main([]) == 2
    assert "usage" in capsys.readouterr().err
