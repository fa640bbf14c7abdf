"""The streaming engine against `demucs.apply.apply_model`: same network, same offsets, same samples."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.engine import tiny

TOLERANCE = 1e-5
EDGES = [1, 2, 7, 499, 500, 749, 750, 751, 999, 1000, 1001, 1499, 1500, 1501, 1999, 2000, 2001, 3000, 4503]
LENGTHS = st.sampled_from(EDGES) | st.integers(1, 4500)
OVERLAPS = st.sampled_from([0.0, 0.1, 0.25, 0.5])
SHIFTS = st.sampled_from([0, 1, 3])
ONE_EACH = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
MDX = [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 1, 1], [1, 0, 1, 1]]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@functools.cache
def transformer():
    return tiny.transformer()


@functools.cache
def hybrid():
    return tiny.hybrid()


@functools.cache
def waveform():
    return tiny.waveform()


@functools.cache
def bag():
    return [tiny.transformer(seed, channels=2, dconv_comp=1) for seed in range(4)]


def check(networks, weights, frames, *, seed=1, **options):
    audio = tiny.music(frames, seed)
    expected = tiny.expected(networks, weights, audio, seed=seed, **options)
    got = tiny.streamed(networks, weights, audio, seed=seed, **options)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= TOLERANCE
    assert frames < 500 or np.abs(expected).max() > 0.01


@settings(max_examples=120)
@given(frames=LENGTHS, shifts=SHIFTS, overlap=OVERLAPS, seed=st.integers(0, 1000))
def test_a_single_network_gives_what_apply_model_gives(frames, shifts, overlap, seed):
    check([transformer()], None, frames, shifts=shifts, overlap=overlap, seed=seed)


@settings(max_examples=40)
@given(frames=LENGTHS, shifts=SHIFTS, overlap=OVERLAPS, weights=st.sampled_from([ONE_EACH, MDX, [[1] * 4] * 4]))
def test_a_bag_gives_what_apply_model_gives(frames, shifts, overlap, weights):
    check(bag(), weights, frames, shifts=shifts, overlap=overlap)


@settings(max_examples=30)
@given(frames=st.integers(600, 4500), shifts=SHIFTS, overlap=OVERLAPS)
def test_a_hybrid_network_gives_what_apply_model_gives(frames, shifts, overlap):
    check([hybrid()], None, frames, shifts=shifts, overlap=overlap)


@settings(max_examples=30)
@given(frames=LENGTHS, shifts=SHIFTS, overlap=OVERLAPS)
def test_a_waveform_network_gives_what_apply_model_gives(frames, shifts, overlap):
    check([waveform()], None, frames, shifts=shifts, overlap=overlap)


@settings(max_examples=20)
@given(frames=LENGTHS, overlap=OVERLAPS, segment=st.sampled_from([0.5, 0.77, 1.0]))
def test_a_shorter_segment_gives_what_apply_model_gives(frames, overlap, segment):
    check([transformer()], None, frames, shifts=0, overlap=overlap, segment=segment)


@pytest.mark.parametrize("frames", [300, 1000, 4321])
def test_a_transformer_without_a_training_length_gives_what_apply_model_gives(frames):
    network = tiny.transformer(use_train_segment=False)
    check([network], None, frames, shifts=1, overlap=0.25)


@pytest.mark.parametrize("overlap", [0.6, 0.75, 0.9])
def test_segments_may_overlap_by_more_than_half(overlap):
    check([transformer()], None, 2500, shifts=0, overlap=overlap)


@pytest.mark.parametrize("batch", [2, 3, 8])
def test_batches_give_what_single_segments_give(batch):
    audio = tiny.music(5200)
    options = {"seed": 3, "shifts": 3, "overlap": 0.25}
    single = tiny.streamed([transformer()], None, audio, **options)
    assert np.abs(tiny.streamed([transformer()], None, audio, **options, batch=batch) - single).max() <= TOLERANCE


@pytest.mark.parametrize("shifts", [0, 3])
def test_segments_computed_side_by_side_give_what_one_after_the_other_gives(shifts):
    audio = tiny.music(5200)
    options = {"seed": 3, "shifts": shifts, "overlap": 0.25}
    single = tiny.streamed([transformer()], None, audio, **options)
    assert np.abs(tiny.streamed([transformer()], None, audio, **options, lanes=2) - single).max() <= TOLERANCE
