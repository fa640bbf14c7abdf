"""The decoder as a resource: however it is left, nothing of it stays open. And how much of a file is read."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import psutil
import pytest

from separation.engine import wav
from separation.engine.decode import Decoder, Source
from separation.engine.probe import probe


@pytest.fixture
def source(make, ffmpeg):
    path = make("decoded.wav", "-f", "lavfi", "-i", "anoisesrc=d=30:c=pink:r=44100:seed=2", "-ac", "2")
    return Source(path, ffmpeg, 2)


def held():
    """What this process has open: children, descriptors, threads. Others' may end meanwhile."""
    return {*psutil.Process().children(), *os.listdir("/proc/self/fd"), *threading.enumerate()}


def all_of(decoder):
    return sum(len(block) for block in decoder)


def one_of(decoder):
    return len(next(iter(decoder)))


def none_of(decoder):
    return 0


@pytest.mark.parametrize("read_ahead", [0, 1, 2])
@pytest.mark.parametrize("take", [all_of, one_of, none_of])
def test_a_decoder_leaves_nothing_open_wherever_it_is_left(source, read_ahead, take):
    before = held()
    with Decoder(source, read_ahead=read_ahead) as decoder:
        take(decoder)
    assert held() <= before


@pytest.mark.parametrize("read_ahead", [0, 2])
def test_a_decoder_leaves_nothing_open_after_an_error(source, read_ahead):
    before = held()
    with pytest.raises(RuntimeError), Decoder(source, read_ahead=read_ahead) as decoder:
        for _ in decoder:
            raise RuntimeError
    assert held() <= before


def test_a_gap_in_the_time_stamps_does_not_end_the_music(make, ffmpeg):
    late = "asetpts='if(gt(T,2),PTS+40/TB,PTS)'"
    path = make("gap.mka", "-f", "lavfi", "-i", "sine=d=5:r=44100", "-af", late, "-c:a", "flac")
    with Decoder(Source(path, ffmpeg, 1, max_seconds=10)) as decoder:
        assert all_of(decoder) == 5 * 44100


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="/proc/self/io counts what children have read")
def test_a_probe_reads_the_beginning_of_a_file_however_large_it_is(tmp_path, ffmpeg):
    frames = 128 * 1024**2
    path = tmp_path / "large.wav"
    path.write_bytes(wav.header(frames, bits=16, sample_rate=44100, channels=2))
    os.truncate(path, path.stat().st_size + 4 * frames)
    before = bytes_read()
    assert probe(path, ffmpeg).duration == pytest.approx(frames / 44100, abs=0.01)
    assert bytes_read() - before < 64 * 1024**2


def bytes_read():
    """By this process and the children it has waited for."""
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])
