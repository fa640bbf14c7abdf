"""What an instance makes at its first start: folders and secret key."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from gunicorn.util import parse_address  # type: ignore[import-untyped]

from stemsite.announce import reachable
from stemsite.instance import hold, in_address, instance_secret, prepare_folders


def test_the_secret_key_is_made_once_and_kept(tmp_path: Path) -> None:
    first = instance_secret(tmp_path / "data")
    assert len(first) > 60
    assert instance_secret(tmp_path / "data") == first


def test_only_its_owner_can_read_the_secret_key(tmp_path: Path) -> None:
    instance_secret(tmp_path)
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600


def test_processes_that_start_together_agree_on_the_secret_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(instance_secret, [tmp_path] * 8))
    assert len(keys) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


def test_a_data_dir_that_cannot_be_made_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ImproperlyConfigured, match="file/media"):
        prepare_folders(tmp_path / "file" / "media")


HOLDS = """
import os, sys
from pathlib import Path
from stemsite.instance import hold
hold(Path({folder!r}))
os.execv(sys.executable, [sys.executable, "-c", "import sys; print('held', flush=True); sys.stdin.read()"])
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that has taken hold of a folder and become another program, as a start becomes its process manager."""
    script, root = HOLDS.format(folder=str(tmp_path)), Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_data_dir_that_another_start_holds_is_refused_with_a_way_out(
    other: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        hold(tmp_path)
    assert str(refused.value) == (
        f"DATA_DIR {tmp_path} is in use by process {other.pid}; stop that, or choose another with DATA_DIR=…."
    )


def test_a_data_dir_whose_lock_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(ImproperlyConfigured, match="lock: Is a directory"):
        hold(tmp_path)


def test_a_start_that_was_killed_holds_nothing(other: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    other.kill()
    other.wait()
    os.close(hold(tmp_path))
    assert (tmp_path / "lock").read_text() == str(os.getpid())


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost", "::", "::1", "fe80::1"])
def test_the_web_server_understands_every_host_it_is_to_listen_on(host: str) -> None:
    assert parse_address(f"{in_address(host)}:8000") == (host, 8000)
    assert in_address(in_address(host)) == in_address(host)


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("::", "[::1]"),
        ("[::]", "[::1]"),
        ("::1", "[::1]"),
        ("stems", "stems"),
    ],
)
def test_the_address_that_is_announced_can_be_opened(host: str, named: str) -> None:
    assert reachable(host) == named
