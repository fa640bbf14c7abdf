"""Who may write to a part."""

import os
import threading
from pathlib import Path

import pytest

from separation.api.problems import Problem
from separation.uploads.parts import Part


def test_a_part_has_one_holder_at_a_time(tmp_path: Path) -> None:
    part = Part(tmp_path / "x.part")
    with part.locked(0), pytest.raises(Problem) as refused, part.locked(0.1):
        pass
    assert (refused.value.status, refused.value.code) == (423, "upload_locked")


def test_whoever_waits_asks_the_holder_to_stop_and_then_holds(tmp_path: Path) -> None:
    part = Part(tmp_path / "x.part")
    asked, taken = threading.Event(), threading.Event()

    def hold() -> None:
        with part.locked(0):
            taken.set()
            while not part.stop_file.exists():
                pass
            asked.set()

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait(60)
    with part.locked(60):
        assert asked.is_set()
    holder.join()
    assert not part.stop_file.exists()


def test_whoever_waits_asks_again_when_another_has_taken_the_request_away(tmp_path: Path) -> None:
    part = Part(tmp_path / "x.part")
    asked: list[bool] = []

    def clock() -> float:
        """Read once before the wait, then in each round of it."""
        asked.append(part.stop_file.exists())
        part.stop_file.unlink(missing_ok=True)
        return len(asked)

    with part.locked(0), pytest.raises(Problem), part.locked(3, clock):
        pass
    assert asked == [False, False, True, True]


def test_whoever_has_no_time_does_not_disturb_the_holder(tmp_path: Path) -> None:
    part = Part(tmp_path / "x.part")
    seen: list[bool] = []
    with part.locked(0):
        watcher = threading.Thread(target=lambda: seen.append(_raises_locked(part)))
        watcher.start()
        watcher.join()
        assert (seen, part.stop_file.exists()) == ([True], False)


def _raises_locked(part: Part) -> bool:
    try:
        with part.locked(0):
            return False
    except Problem as problem:
        return problem.status == 423


def test_a_request_to_stop_by_someone_who_was_killed_stops_nobody(tmp_path: Path) -> None:
    part = Part(tmp_path / "x.part")
    part.stop_file.touch()
    with part.locked(0):
        assert not part.stop_file.exists()


def test_a_part_is_free_at_once_though_a_child_being_started_still_shares_its_descriptor(tmp_path: Path) -> None:
    part = Part(tmp_path / "a.part")
    with part.locked(0) as descriptor:
        shared = os.dup(descriptor)
    with part.locked(0):
        os.close(shared)


def test_a_part_without_a_file_has_no_bytes(tmp_path: Path) -> None:
    part = Part(tmp_path / "x.part")
    assert part.size == 0
    part.remove()
