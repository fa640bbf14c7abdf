"""Thresholds of the service's own processes."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from memory.monitor import MemoryMonitor
from memory.quantities import MIB
from tests.unit.memory_processes.trees import bare_machine

ROOT = Path(__file__).resolve().parents[3]


class Own:
    """This process's resident size, as a test sets it."""

    def __init__(self) -> None:
        self.mb = 100

    def __call__(self) -> int:
        return self.mb * MIB


@pytest.fixture
def own() -> Own:
    return Own()


@pytest.fixture
def monitor(own: Own) -> MemoryMonitor:
    return MemoryMonitor(limit=1000 * MIB, warning_threshold=800 * MIB, check_interval=10, own_rss=own)


def test_under_its_limit_a_process_takes_work(monitor: MemoryMonitor, own: Own) -> None:
    own.mb = 1000
    assert monitor.accepting_work().ok


def test_over_its_limit_a_process_refuses_with_numbers_and_a_time(monitor: MemoryMonitor, own: Own) -> None:
    own.mb = 1001
    answer = monitor.accepting_work()
    assert not answer.ok
    assert answer.reason == "this server process holds 1001 MB, and its limit is 1000 MB"
    assert answer.retry_after == 10


def test_work_that_does_not_fit_under_the_limit_is_refused_with_what_it_needs(monitor: MemoryMonitor, own: Own) -> None:
    own.mb = 700
    assert monitor.accepting_work(300 * MIB).ok
    answer = monitor.accepting_work(301 * MIB)
    assert not answer.ok
    assert answer.reason == "this server process holds 700 MB and needs 301 MB more, and its limit is 1000 MB"
    assert monitor.accepting_work().ok


def test_once_over_it_takes_work_only_below_the_warning_threshold(monitor: MemoryMonitor, own: Own) -> None:
    answers = []
    for own.mb in (1001, 950, 800, 799, 950):
        answers.append(monitor.accepting_work().ok)
    assert answers == [False, False, False, True, True]


def test_a_warning_threshold_close_to_the_limit_still_leaves_a_gap(own: Own) -> None:
    monitor = MemoryMonitor(limit=1000 * MIB, warning_threshold=999 * MIB, check_interval=10, own_rss=own)
    answers = []
    for own.mb in (1001, 950, 899):
        answers.append(monitor.accepting_work().ok)
    assert answers == [False, False, True]


def test_each_crossing_of_the_warning_threshold_is_counted_and_logged_once(
    monitor: MemoryMonitor, own: Own, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="memory.monitor"):
        for own.mb in (700, 850, 870, 790, 900):
            monitor.accepting_work()
    assert monitor.warnings == 2
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "850 MB, over its warning threshold of 800 MB" in caplog.records[0].getMessage()


def test_stopping_and_resuming_are_logged_once_each(
    monitor: MemoryMonitor, own: Own, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="memory.monitor"):
        for own.mb in (1100, 1100, 700, 700):
            monitor.accepting_work()
    said = [record.getMessage() for record in caplog.records if "work" in record.getMessage()]
    assert [line.rpartition(": ")[2] for line in said] == ["taking no new work", "taking work again"]


def test_limits_come_from_the_settings_where_none_are_given(own: Own, settings: object) -> None:
    settings.MEMORY_LIMIT_MB = 64  # type: ignore[attr-defined]
    settings.MEMORY_WARNING_THRESHOLD_MB = 32  # type: ignore[attr-defined]
    own.mb = 65
    assert not MemoryMonitor(own_rss=own).accepting_work().ok


def test_the_host_is_read_from_the_given_root(tmp_path: Path) -> None:
    assert MemoryMonitor(root=bare_machine(tmp_path)).host().total == 16384000 * 1024


def test_this_process_is_read_for_real() -> None:
    reading = MemoryMonitor().own_process()
    assert reading.pid == os.getpid()
    assert 10 * MIB < reading.rss <= reading.peak
    assert reading.uss is not None and 0 < reading.uss <= reading.rss + MIB


def test_what_a_process_was_before_it_became_this_program_is_not_its_peak() -> None:
    code = """
import os, sys
held = b"x" * (150 << 20)
report = "from memory.monitor import MemoryMonitor; print(MemoryMonitor().own_process().peak)"
os.execv(sys.executable, [sys.executable, "-c", report])
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 100 * MIB
