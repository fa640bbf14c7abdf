"""The decoder as a resource: however it is left, nothing of it stays open."""

from __future__ import annotations

import os
import threading

import psutil
import pytest

from separation.engine.decode import Decoder, Source


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
