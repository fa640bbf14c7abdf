"""The starter's network: what it begins with when others, of other sizes, are grown into it."""

import pytest
import torch

from separation.starter.loading import first_network
from separation.starter.network import build, grown, is_of_waveform


def without_transformer(**changes):
    return build(t_layers=0, **changes).eval()


def test_a_grown_network_sounds_almost_as_the_one_without_a_transformer_did():
    torch.manual_seed(0)
    small = without_transformer()
    noise = 0.1 * torch.randn(1, 2, 131_072)
    with torch.no_grad():
        before, after = small(noise), grown(small).eval()(noise)
    assert (after - before).norm() < 0.1 * before.norm()
    assert not torch.equal(after, before)


def test_each_branch_of_a_grown_network_comes_from_its_own_donor():
    spectrogram, waveform = without_transformer(), without_transformer(cac=True, dconv_depth=2)
    state = grown(spectrogram, waveform).state_dict()
    shared = [name for name in waveform.state_dict() if is_of_waveform(name)]
    assert len(shared) > 50 and all(torch.equal(state[name], waveform.state_dict()[name]) for name in shared)
    own = [name for name in spectrogram.state_dict() if not is_of_waveform(name)]
    assert len(own) > 50 and all(torch.equal(state[name], spectrogram.state_dict()[name]) for name in own)


def test_tensors_of_another_shape_are_drawn_anew():
    narrow = without_transformer(channels_time=8)
    state = grown(narrow).state_dict()
    assert state["tencoder.0.conv.weight"].shape[0] == 24
    assert torch.equal(state["encoder.0.conv.weight"], narrow.state_dict()["encoder.0.conv.weight"])


def test_a_network_of_a_shorter_window_keeps_what_it_knows_of_each_frequency():
    shorter = without_transformer(nfft=build().nfft // 2)
    before, after = (network.freq_emb.embedding.weight.detach() for network in (shorter, grown(shorter)))
    middles = (before[:-1] + before[1:]) / 2
    assert torch.allclose((after[1:-2:2] + after[2:-1:2]) / 2, middles, atol=1e-6)
    assert torch.equal(grown(shorter).encoder[0].conv.weight, shorter.encoder[0].conv.weight)


def test_a_waveform_branch_alone_is_refused(tmp_path):
    with pytest.raises(ValueError, match="give --from too"):
        first_network(None, tmp_path)


def test_weights_of_which_nothing_fits_are_refused():
    stranger = build(channels=12, channels_time=12, t_layers=0)
    with pytest.raises(ValueError, match="another architecture"):
        grown(stranger)


def test_a_waveform_branch_of_which_nothing_fits_is_refused():
    with pytest.raises(ValueError, match="fits the waveform branch"):
        grown(without_transformer(), without_transformer(channels_time=8))
