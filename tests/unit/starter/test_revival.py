"""Parts that are drawn anew: the others stay, the network sounds as before, and something arrives where it did not."""

import pytest
import torch

from separation.starter.health import examples, idle
from separation.starter.network import build
from separation.starter.revival import redrawn

PARTS = ["encoder.3", "decoder.0", "crosstransformer.layers"]


@pytest.fixture(scope="module")
def stems():
    return examples(0.5)


@pytest.fixture(scope="module")
def shut():
    """A network whose innermost decoder lets nothing through."""
    torch.manual_seed(0)
    network = build()
    gates = network.decoder[0].rewrite
    with torch.no_grad():
        gates.bias[gates.out_channels // 2 :] = -1e4
    return network.eval()


@pytest.fixture(scope="module")
def revived(shut, stems):
    torch.manual_seed(1)
    return redrawn(shut, PARTS, stems.sum(dim=1))


def test_the_other_parts_stay(shut, revived):
    before, after = shut.state_dict(), revived.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"encoder.3.conv.weight", "decoder.0.rewrite.bias", "crosstransformer.layers.0.linear1.weight"} <= changed
    assert all(name.startswith(tuple(f"{part}." for part in PARTS)) for name in changed)
    assert "decoder.0.conv_tr.bias" not in changed


def test_the_spectrograms_branch_sounds_as_before(shut, revived, stems):
    heard = {}
    for name, network in (("before", shut), ("after", revived)):
        network.decoder[0].register_forward_hook(lambda _m, _i, output, name=name: heard.update({name: output[0]}))
        with torch.no_grad():
            network.eval()(stems.sum(dim=1))
    assert torch.allclose(heard["before"], heard["after"], atol=1e-6)


def test_gates_are_open_and_hear_the_mixture(revived, stems):
    heard = []
    revived.decoder[0].rewrite.register_forward_hook(lambda _m, _i, output: heard.append(output))
    with torch.no_grad():
        revived.eval()(stems.sum(dim=1))
    channels = heard[0].transpose(0, 1).flatten(1)
    assert channels.std(dim=1) == pytest.approx(1, abs=0.05) and channels.mean(dim=1) == pytest.approx(0, abs=0.05)


def test_after_a_step_something_is_learnt_in_every_part(shut, revived, stems):
    assert {"encoder.3", "decoder.0"} <= set(idle(shut, stems))
    with torch.no_grad():
        revived.decoder[0].conv_tr.weight.normal_(std=0.01)
    assert not {"encoder.3", "decoder.0"} & set(idle(revived, stems))


def test_a_part_that_is_none_is_refused_with_those_there_are(shut, stems):
    with pytest.raises(ValueError, match=r"no part encoder\.9: try .*encoder\.3"):
        redrawn(shut, ["encoder.9"], stems.sum(dim=1))
