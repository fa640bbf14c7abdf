"""The mean of several trainings' weights."""

from pathlib import Path

import pytest
import torch

from separation.starter.averaging import main, mean_of
from separation.starter.export import WEIGHTS, export
from separation.starter.loading import load_starter


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """The bundled weights, each a little larger."""
    export({name: value + 0.25 for name, value in load_starter().state_dict().items()}, tmp_path / "moved")
    return tmp_path / "moved"


def test_each_weight_lies_between_those_it_is_made_of_by_their_shares(moved: Path) -> None:
    mean, first = mean_of([(WEIGHTS, 3), (moved, 1)]), load_starter().state_dict()
    assert max(float((mean[name] - value - 0.0625).abs().max()) for name, value in first.items()) < 2e-3


def test_the_mean_is_written_as_weights_that_load(moved: Path, tmp_path: Path) -> None:
    main([str(tmp_path / "mean"), f"{WEIGHTS}=0.5", f"{moved}=0.5"])
    wanted = mean_of([(WEIGHTS, 1), (moved, 1)])
    got = load_starter(tmp_path / "mean").state_dict()
    assert all(torch.equal(got[name], value.half().float()) for name, value in wanted.items())


@pytest.mark.parametrize("wrong", ["folder", "folder=", "folder=x", "=1", "folder=0", "folder=-1", "nowhere=1"])
def test_a_part_that_cannot_be_is_refused_by_name(
    wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path / "mean"), wrong])
    assert wrong.partition("=")[0] in capsys.readouterr().err
    assert not (tmp_path / "mean").exists()
