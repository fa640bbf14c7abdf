"""What ends the reading of a body early, and that what had arrived is still given."""

import io
import socket
from pathlib import Path

from separation.uploads.body import INCOMPLETE, SUPERSEDED, TOO_SLOW, GuardedBody


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def guarded(data: bytes, folder: Path, *, length: int | None = None, **extra: object) -> GuardedBody:
    length = len(data) if length is None else length
    return GuardedBody(io.BytesIO(data), length, stop_file=folder / "x.stop", stall_seconds=10, **extra)  # type: ignore[arg-type]


def test_a_whole_body_is_read_and_not_called_early(tmp_path: Path) -> None:
    body = guarded(b"abc", tmp_path)
    assert (body.read(100), body.read(100), body.ended) == (b"abc", b"", "")


def test_a_body_that_ends_early_says_so(tmp_path: Path) -> None:
    body = guarded(b"abc", tmp_path, length=5)
    assert (body.read(100), body.read(100), body.ended) == (b"abc", b"", INCOMPLETE)


def test_a_broken_connection_is_a_body_that_ends_early(tmp_path: Path) -> None:
    class Broken:
        def read(self, size: int, /) -> bytes:
            raise ConnectionResetError

    body = GuardedBody(Broken(), 5, stop_file=tmp_path / "x.stop", stall_seconds=10)
    assert (body.read(5), body.ended) == (b"", INCOMPLETE)


def test_a_body_gives_way_when_someone_else_wants_the_part(tmp_path: Path) -> None:
    body = guarded(b"a" * 200_000, tmp_path)
    assert len(body.read(65_536)) == 65_536
    (tmp_path / "x.stop").touch()
    assert (body.read(65_536), body.ended, body.received) == (b"", SUPERSEDED, 65_536)


def test_no_read_is_larger_than_the_client_has_proved_quick_enough_for(tmp_path: Path) -> None:
    body = guarded(b"a" * 400_000, tmp_path, clock=Clock())
    assert [len(body.read(10**9)) for _ in range(3)] == [65_536, 131_072, 400_000 - 196_608]


def test_a_silent_client_is_cut_off_while_the_read_waits(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    clock = Clock()
    with ours, theirs:
        theirs.sendall(b"abc")
        body = GuardedBody(
            ours.makefile("rb"), 5, stop_file=tmp_path / "x.stop", stall_seconds=10, client=ours, clock=clock
        )
        assert body.read(1) == b"a"
        clock.now = 11.0
        with body:  # the real watchdog, with a clock that is already late
            assert body.read(5) == b"bc"
        assert (body.read(5), body.ended) == (b"", TOO_SLOW)


def test_an_interrupted_client_can_still_be_answered(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"a")
        body = GuardedBody(ours.makefile("rb"), 5, stop_file=tmp_path / "x.stop", stall_seconds=10, client=ours)
        assert body.read(1) == b"a"
        (tmp_path / "x.stop").touch()
        body.look()
        assert body.read(5) == b""
        ours.sendall(b"answer")
        assert theirs.recv(10) == b"answer"


def test_a_request_that_waits_for_the_part_does_not_give_way_to_its_own_wish(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"abcde")
        body = GuardedBody(ours.makefile("rb"), 5, stop_file=tmp_path / "x.stop", stall_seconds=10, client=ours)
        (tmp_path / "x.stop").touch()
        body.look()
        (tmp_path / "x.stop").unlink()
        assert (body.read(5), body.ended) == (b"abcde", "")


def test_only_a_body_that_was_broken_off_spoils_its_connection(tmp_path: Path) -> None:
    for data, spoilt in ((b"abc", []), (b"ab", [True])):
        broken: list[bool] = []
        body = guarded(data, tmp_path, length=3, on_break=lambda broken=broken: broken.append(True))
        with body:
            while body.read(10):
                pass
        assert broken == spoilt
