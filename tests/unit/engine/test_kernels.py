"""The faster kernels against the layers they replace: same network, same input, same samples to rounding."""

import copy

import pytest
import torch

from separation.engine.device import choose_matmul_precision, has_fast_bfloat16
from separation.engine.kernels import attention, filters, rows, stretches, waves
from separation.engine.kernels.install import install_exact, install_fast
from separation.engine.kernels.spectral import Inverse
from separation.engine.kernels.winograd import RowFilter
from tests.unit.engine import tiny

TRANSFORMER = {"t_layers": 3, "bottom_channels": 16, "t_heads": 2, "dconv_mode": 3, "dconv_depth": 2}


def networks():
    return {
        "transformer": tiny.transformer(**TRANSFORMER, channels=8),
        "norms after": tiny.transformer(**TRANSFORMER, channels=8, t_norm_first=False, t_norm_out=False),
        "no transformer": tiny.transformer(dconv_mode=3),
        "hybrid": tiny.hybrid(),
        "hybrid of the challenge": tiny.hybrid(hybrid_old=True),
        "hybrid with magnitudes": tiny.hybrid(hybrid_old=True, cac=False),
        "spectrogram alone": tiny.hybrid(hybrid=False),
        "waveform": tiny.waveform(),
        "shallow time branch": tiny.transformer(depth=3, nfft=512, dconv_mode=1),
        "magnitudes": tiny.transformer(cac=False, wiener_iters=-1, end_iters=-1),
    }


NAMES = list(networks())


def signal(batch=1):
    torch.manual_seed(1)
    return torch.randn(batch, 2, 1000)


def outputs(network, install, mix):
    changed = copy.deepcopy(network)
    with torch.inference_mode():
        expected = network(mix)
        install(changed)
        return expected, changed(mix)


@pytest.mark.parametrize("name", NAMES)
def test_exact_kernels_change_nothing_but_rounding(name):
    expected, got = outputs(networks()[name], install_exact, signal())
    assert expected.abs().max() > 0.05
    assert (got - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("limit", [1, 4096, 100_000])
def test_tiles_of_any_height_give_the_same(monkeypatch, limit):
    monkeypatch.setattr(stretches, "CACHE_BYTES", limit)
    expected, got = outputs(networks()["transformer"], install_exact, signal(batch=2))
    assert (got - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("stretch", [1, 7, 64])
def test_waveform_stretches_of_any_length_give_the_same(monkeypatch, stretch, threads):
    monkeypatch.setattr(waves, "STRETCH", stretch)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    expected, got = outputs(networks()["transformer"], install_exact, signal(batch=2))
    torch.set_num_threads(before)
    assert (got - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("few", [0, 10_000])
def test_attention_fused_or_by_head_gives_the_same(monkeypatch, few):
    monkeypatch.setattr(attention, "FEW_KEYS", few)
    expected, got = outputs(networks()["transformer"], install_exact, signal(batch=2))
    assert 0 < (got - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("install", [install_exact, install_fast])
def test_rows_divided_among_threads_give_the_same(monkeypatch, threads, install):
    network, mix = networks()["transformer"], signal(batch=2)
    _, together = outputs(network, install, mix)
    monkeypatch.setattr(rows, "LEAST_ROWS", 1)
    monkeypatch.setattr(attention, "SLICE", 2)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    _, apart = outputs(network, install, mix)
    torch.set_num_threads(before)
    assert (together - apart).abs().max() <= (1e-5 if install is install_exact else 0.02)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["transformer", "hybrid", "magnitudes"])
def test_combined_products_in_every_layer_change_nothing_but_rounding(monkeypatch, name, threads):
    monkeypatch.setattr(filters, "WORTH", 1)
    monkeypatch.setattr(rows, "LEAST_ROWS", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    expected, got = outputs(networks()[name], install_exact, signal())
    torch.set_num_threads(before)
    assert 0 < (got - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("taps", [2, 3])
@pytest.mark.parametrize("count", [1, 3, 4, 5, 16])
def test_a_row_filter_sums_its_weights_over_neighbouring_rows(taps, count):
    torch.manual_seed(0)
    weight, bias = torch.randn(6, taps, 5) / 4, torch.randn(6, 1)
    x = torch.randn(count + taps - 1, 5, 7)
    expected = torch.stack([sum(weight[:, tap] @ x[row + tap] for tap in range(taps)) + bias for row in range(count)])
    got = RowFilter(weight, bias)(x)
    assert got.shape == (count, 6, 7)
    assert (got - expected).abs().max() <= 2e-5


def test_large_float32_weights_are_combined_and_bfloat16_ones_are_not():
    weight, bias = torch.randn(96, 3, 144), torch.zeros(96, 1)
    assert isinstance(filters.row_filter(weight, bias, torch.float32), RowFilter)
    assert isinstance(filters.row_filter(weight, bias, torch.bfloat16), filters.PlainFilter)
    assert isinstance(filters.row_filter(weight[:8, :, :8], bias[:8], torch.float32), filters.PlainFilter)


def test_everything_meant_to_be_replaced_is_replaced():
    done = install_exact(networks()["transformer"])
    assert done == [
        "folded residual norms",
        "frequency layers by rows",
        "outer waveform layers by stretches",
        "sources finished one by one",
        "sliced feed-forward",
    ]


def test_transformer_layers_with_norms_after_them_keep_their_own_forward():
    assert "sliced feed-forward" not in install_exact(networks()["norms after"])


def test_a_network_with_a_wiener_filter_keeps_its_own_ending():
    network = tiny.transformer(cac=False, wiener_iters=1, end_iters=1)
    assert not {"sources finished one by one", "inverse transform by source"} & set(install_exact(network))


@pytest.mark.parametrize("frames", [1, 999])
def test_a_short_input_is_padded_to_the_training_length_and_cut_again(frames):
    expected, got = outputs(networks()["transformer"], install_exact, signal()[..., :frames])
    assert got.shape == expected.shape
    assert (got - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("name", ["transformer", "hybrid"])
def test_fast_kernels_stay_close(name):
    expected, got = outputs(networks()[name], install_fast, signal())
    noise = (got - expected).square().sum()
    assert 0 < noise < expected.square().sum() * 10**-3.5


def test_the_chosen_matmul_precision_is_float32():
    choose_matmul_precision()
    a, b = torch.randn(128, 300), torch.randn(300, 200)
    assert ((a @ b).double() - a.double() @ b.double()).abs().max() < 1e-3
    torch.set_float32_matmul_precision("highest")


def test_bfloat16_is_reported_from_the_processors_flags(monkeypatch):
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_a, **_k: "flags: avx2 avx512_bf16")
    assert has_fast_bfloat16()
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_a, **_k: "flags: avx2 avx512f")
    assert not has_fast_bfloat16()


def test_the_inverse_transform_of_many_stretches_of_frames_is_demucss() -> None:
    network = tiny.transformer(nfft=8192)
    torch.manual_seed(0)
    spectrum = torch.randn(1, 2, 4096, 64, dtype=torch.complex64)
    (made,) = Inverse(network)([spectrum[0].abs()], spectrum[0] / spectrum[0].abs(), 131072)
    expected = network._ispec(spectrum, 131072)[0]
    assert (made - expected).abs().max() < 1e-5 * expected.abs().max()
