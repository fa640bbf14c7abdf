"""Before a training: parts that nothing is learnt in, and gradients that bfloat16 would spoil."""

import copy

import pytest
import torch
from torch import nn

from separation.starter.data import CLIP_SECONDS
from separation.starter.health import AGREEMENT, agreement, examples, idle, keep_exact
from separation.starter.network import build
from separation.starter.synthesis import RATE


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build(channels=4, channels_time=4, depth=2, nfft=512, t_layers=0, dconv_depth=1)


@pytest.fixture(scope="module")
def stems():
    return examples(0.25)


def test_songs_to_examine_with_are_no_longer_than_those_of_a_training():
    assert examples(1000.0).shape == (2, 4, 2, round(CLIP_SECONDS * RATE))


def test_no_part_of_a_new_network_is_idle(network, stems):
    assert idle(network, stems) == []


def test_a_decoder_whose_gates_are_shut_is_idle_and_the_others_are_not(network, stems):
    gates = network.decoder[0].rewrite.out_channels // 2
    with torch.no_grad():
        network.decoder[0].rewrite.bias[gates:] = -1e4
    assert "decoder.0" in idle(network, stems)
    assert not {"decoder.1", "tdecoder.0"} & set(idle(network, stems))


def test_gradients_in_bfloat16_are_those_of_float32(network, stems):
    assert agreement(network, stems) > AGREEMENT


def test_transposed_convolutions_that_are_kept_exact_compute_in_float32_under_autocast():
    layers = nn.Sequential(nn.ConvTranspose1d(2, 2, 8, 4), nn.Conv1d(2, 2, 1))
    keep_exact(layers)
    with torch.autocast("cpu", torch.bfloat16):
        assert layers[0](torch.randn(1, 2, 16).bfloat16()).dtype == torch.float32
        assert layers[1](torch.randn(1, 2, 16)).dtype == torch.bfloat16


def test_the_copy_of_an_exact_layer_has_weights_of_its_own():
    layer = nn.ConvTranspose2d(2, 2, (8, 1), (4, 1), bias=False)
    keep_exact(layer)
    other = copy.deepcopy(layer)
    with torch.no_grad():
        other.weight.zero_()
    sound = torch.randn(1, 2, 16, 4)
    assert not other(sound).any() and layer(sound).any()
