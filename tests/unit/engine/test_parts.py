"""The engine's small parts: statistics, window, weights, clipping, WAV, outputs, progress."""

import io
import json
import struct
import wave

import numpy as np
import pytest
import torch

from separation.engine import clip, wav
from separation.engine.errors import EngineError
from separation.engine.overlap import OverlapAdd, TransitionWeights
from separation.engine.probe import parse_ffmetadata
from separation.engine.progress import Reporter
from separation.engine.shifts import draw_offsets, leads
from separation.engine.statistics import RunningStatistics
from separation.engine.two_stems import network_mixing, plan_outputs
from separation.engine.window import SlidingWindow
from separation.options import SeparationOptions
from tests.unit.engine.tiny import SOURCES, music, windows


def test_statistics_over_windows_equal_those_over_the_whole():
    audio = music(100_000) + 5
    running = RunningStatistics()
    for block in windows(audio, 777):
        running.update(block)
    mono = torch.from_numpy(audio.T).double().mean(0)
    assert running.normalisation().mean == pytest.approx(mono.mean().item(), abs=1e-12)
    assert running.normalisation().std == pytest.approx(mono.std().item(), rel=1e-7)


@pytest.mark.parametrize("frames", [1, 2, 1000])
def test_silence_has_a_small_deviation_and_never_zero(frames):
    running = RunningStatistics()
    running.update(np.zeros((frames, 2), np.float32))
    assert running.normalisation().std == 1e-8


def test_a_window_reads_zeros_outside_the_track_and_samples_inside():
    audio = music(1000)
    window = SlidingWindow(windows(audio, 64), 1000, 2)
    out = window.read(-10, 20)
    assert not out[:, :10].any()
    assert np.array_equal(out[:, 10:], audio[:20].T)
    assert not window.read(990, 1010)[:, 10:].any()


def test_a_window_keeps_no_more_than_what_was_not_forgotten():
    window = SlidingWindow(windows(music(500_000), 1000), 500_000, 2)
    for start in range(0, 490_000, 1000):
        window.read(start, start + 5000)
        window.forget(start - 2000)
    assert window._buffer.shape[1] < 40_000


def test_a_window_refuses_what_it_has_forgotten():
    window = SlidingWindow(windows(music(50_000), 1000), 50_000, 2)
    window.read(40_000, 41_000)
    window.forget(40_000)
    with pytest.raises(IndexError):
        window.read(0, 10)


def test_a_track_that_ends_early_the_second_time_is_an_error():
    window = SlidingWindow(windows(music(900)), 1000, 2)
    with pytest.raises(EngineError, match="earlier"):
        window.read(0, 1000)


def test_a_track_that_is_longer_the_second_time_is_an_error():
    window = SlidingWindow(windows(music(1100)), 1000, 2)
    window.read(0, 1000)
    with pytest.raises(EngineError, match="longer"):
        window.finish()


@pytest.mark.parametrize(("segment", "stride", "length"), [(100, 75, 1000), (101, 10, 512), (7, 7, 20), (50, 25, 3)])
def test_transition_weights_of_all_segments_sum_to_one(segment, stride, length):
    weights = TransitionWeights(segment, stride, length)
    total = np.zeros(length)
    for offset in range(0, length, stride):
        row = weights.at(offset)
        total[offset : offset + len(row)] += row
    assert np.allclose(total, 1, atol=1e-6)


def test_an_overlap_sum_gives_each_position_once_and_forgets_it():
    overlap = OverlapAdd(1, 1, 40)
    ones = torch.ones(1, 1, 20)
    taken = []
    for position in range(0, 100, 10):
        overlap.add(position, ones, torch.ones(20), [[1.0]])
        taken.append(overlap.finished(position + 10).clone())
        overlap.forget(position + 10)
    joined = torch.cat(taken, -1)[0, 0]
    assert joined[:10].eq(1).all()
    assert joined[10:].eq(2).all()


def test_offsets_are_those_that_demucs_draws_and_repeat_with_the_seed():
    import random

    random.seed(7)
    expected = [[random.randint(0, 22050) for _ in range(3)] for _ in range(2)]
    assert draw_offsets(2, 3, 44100, 7) == expected
    assert leads(expected[0], 44100) == [22050 - offset for offset in expected[0]]
    assert leads([], 44100) == [0]


@pytest.mark.parametrize("mode", ["rescale", "clamp", "none"])
@pytest.mark.parametrize("level", [0.1, 0.995, 3.0])
def test_clipping_is_what_demucs_does(mode, level):
    from demucs.audio import prevent_clip

    samples = (music(500) * level / 0.5).astype(np.float32)
    expected = prevent_clip(torch.from_numpy(samples), mode=mode).numpy()
    assert np.array_equal(clip.apply(mode, samples, float(np.abs(samples).max())), expected)


@pytest.mark.parametrize("bits", [16, 24, 32])
def test_a_wav_file_is_the_one_demucs_writes(bits, tmp_path):
    from demucs.audio import encode_wav

    samples = music(777)
    path = tmp_path / "theirs.wav"
    encode_wav(torch.from_numpy(samples.T), path, 44100, bits_per_sample=min(bits, 24), as_float=bits == 32)
    ours = wav.header(777, bits=bits, sample_rate=44100, channels=2) + wav.encode(samples, bits)
    assert ours == path.read_bytes()


def test_tags_do_not_disturb_the_samples(tmp_path):
    path = tmp_path / "tagged.wav"
    head = wav.header(10, bits=16, sample_rate=44100, channels=2, tags={"title": "Odd", "artist": "Ä"})
    path.write_bytes(head + wav.encode(music(10), 16))
    with wave.open(str(path)) as file:
        assert (file.getnframes(), file.getnchannels()) == (10, 2)


def test_the_last_file_of_riff_size_is_riff_and_the_next_is_rf64():
    frames = (2**32 - 1 - 36) // 4
    assert wav.header(frames, bits=16, sample_rate=44100, channels=2)[:4] == b"RIFF"
    head = wav.header(frames + 1, bits=16, sample_rate=44100, channels=2)
    assert (head[:4], head[4:8], head[12:16]) == (b"RF64", b"\xff" * 4, b"ds64")
    riff_size, data_size, count = struct.unpack_from("<QQQ", head, 20)
    assert data_size == (frames + 1) * 4
    assert count == frames + 1
    assert riff_size == len(head) - 8 + data_size


def test_the_complement_of_a_stem_is_the_sum_of_the_others():
    options = SeparationOptions.parse({"two_stems": "bass"})
    outputs = plan_outputs(SOURCES, options, one_network_per_source=False)
    assert [output.sources for output in outputs] == [(0, 1, 0, 0), (1, 0, 1, 1)]


def test_with_one_network_per_stem_the_complement_is_the_mixture_minus_the_stem():
    options = SeparationOptions.parse({"two_stems": "bass"})
    outputs = plan_outputs(SOURCES, options, one_network_per_source=True)
    assert (outputs[1].sources, outputs[1].mixture) == ((0, -1, 0, 0), 1.0)
    assert network_mixing(outputs, (1, 0, 0, 0), (1, 1, 1, 1)) == [[0] * 4, [0] * 4]


def test_progress_never_goes_back_and_is_not_said_too_often():
    now = [0.0]
    stream = io.StringIO()
    reporter = Reporter(stream, clock=lambda: now[0])
    for step, fraction in enumerate([0.1, 0.05, 0.2, 0.3, 1.0]):
        now[0] = step * 0.15
        reporter.progress(fraction)
    said = [json.loads(line)["fraction"] for line in stream.getvalue().splitlines()]
    assert said == [0.1, 0.2, 1.0]


def test_a_long_first_reading_says_now_and_then_how_far_it_is():
    now = [0.0]
    stream = io.StringIO()
    reporter = Reporter(stream, clock=lambda: now[0])
    for step in range(1, 6):
        now[0] = step * 0.6
        reporter.reading(step * 1000)
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"event": "note", "frames_read": frames} for frames in (2000, 4000)
    ]


def test_metadata_text_cannot_be_forged_by_a_tag():
    text = ";FFMETADATA1\ntitle=one\\\nartist\\=forged\\; \\#x\\\\\nartist=true\n[STREAM]\ntitle=late\n"
    assert parse_ffmetadata(text) == {"title": "one artist=forged; #x\\", "artist": "true"}
