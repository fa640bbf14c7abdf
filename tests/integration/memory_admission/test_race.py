"""Six processes at one queue: never over budget, never over the places, each job once, no locked database."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.memory_admission import racer
from tests.integration.memory_admission.postgres import find_programs, temporary_server

ROOT = Path(__file__).parents[3]
RACERS, PLACES, BUDGET_MB = 6, 3, 1280  # 1088 MB of it for heavy operations


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL's initdb and pg_ctl are not installed")
    with temporary_server(programs) as address:
        yield f"{address}/postgres"


EVERYTHING_ELSE = """
import django, io, datetime
django.setup()
from django.core.management import call_command
from django.utils import timezone
from memory import live
from memory.estimates import estimate, record_peak
from memory.incidents import record_incident
from memory.limiter import ConcurrentOperationLimiter
from memory.metrics import render
from memory.models import IncidentKind, UsageSample
from memory.registration import register_process
from memory.sampling import Sampler, thin_history

live._queue_sources.clear()  # the other app's tables are not there
limiter = ConcurrentOperationLimiter()
with limiter.admitted(kind="probe", key="p", bytes=1024**2, lease_seconds=60) as held:
    assert register_process("worker") and Sampler().tick()
    assert limiter.renew(held.pk, observed_bytes=1024)
    call_command("memory")
    assert "memory_operation_observed_bytes" in render()
record_peak("probe", {"codec": "mp3"}, estimated=1, observed=1024**2)
assert estimate("probe", {"codec": "mp3"}, default_bytes=1) > 1024**2
record_incident(IncidentKind.KILLED)
before = UsageSample.objects.count()
thin_history(timezone.now() + datetime.timedelta(hours=2))
assert 0 < UsageSample.objects.count() <= before and not UsageSample.objects.filter(resolution=0).exists()
assert limiter.expire() == 0
"""


TWO_THIN = """
import datetime, threading, time
import django
django.setup()
from django.db import connection
from django.db.models.signals import pre_delete
from django.utils import timezone
from memory.models import Host, UsageSample
from memory.sampling import thin_history

other = threading.Thread(target=lambda: (thin_history(), connection.close()), daemon=True)
both_have_read = threading.Event()

def blocked():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0]

def meet(**_):
    '''The first has read, and deletes once the second has read too or waits for it.'''
    if threading.current_thread() is other:
        both_have_read.set()
    elif not other.ident:
        other.start()
        while not blocked() and not both_have_read.is_set():
            time.sleep(0.01)

Host.objects.create(name="h")
old = timezone.now().replace(second=0, microsecond=0) - datetime.timedelta(hours=3)
for second in range(6):
    UsageSample.objects.create(host_id="h", subject="host", bytes=second, at=old + datetime.timedelta(seconds=second))
pre_delete.connect(meet, sender=UsageSample)
thin_history()
other.join()
left = list(UsageSample.objects.filter(host_id="h").values_list("resolution", "bytes"))
assert left == [(60, 5)], left
"""


def environment(tmp_path: Path, database: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": "stemsite.settings",
        "DATA_DIR": str(tmp_path / "data"),
        "DATABASE_URL": database,
        "HOST_NAME": "race",
        "MAX_CONCURRENT_OPERATIONS": str(PLACES),
        "MEMORY_BUDGET_MB": str(BUDGET_MB),
    }


def run_race(tmp_path: Path, database: str) -> list[tuple[str, str, int, int]]:
    """The ledger's lines; fails if a racer does, with what it wrote."""
    env, ledger = environment(tmp_path, database), tmp_path / "ledger"
    subprocess.run([sys.executable, ROOT / "manage.py", "migrate", "memory", "-v0"], env=env, check=True, timeout=60)
    command = [sys.executable, racer.__file__, str(ledger)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    racers = [subprocess.Popen([*command, str(n)], env=env, **pipes) for n in range(RACERS)]  # type: ignore[call-overload]
    assert [process.stdout.readline() for process in racers] == ["ready\n"] * RACERS
    for process in racers:
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=120)[1] for process in racers]
    assert [process.returncode for process in racers] == [0] * RACERS, "\n".join(errors)
    assert not [error for error in errors if "locked" in error]
    return [tuple(json.loads(line)) for line in ledger.read_text().splitlines()]


def check(entries: list[tuple[str, str, int, int]]) -> None:
    held: dict[str, int] = {}
    most = 0
    for change, key, size, _ in entries:
        if change == "-":
            del held[key]
            continue
        assert key not in held
        held[key] = size
        most = max(most, len(held))
        assert len(held) <= PLACES
        assert sum(held.values()) <= (BUDGET_MB - 192) * 1024**2
    assert sorted(key for change, key, *_ in entries if change == "+") == sorted(f"job-{n}" for n in range(racer.JOBS))
    assert most > 1 and len({process for *_, process in entries}) > 1  # it was a race


def test_six_processes_on_sqlite_never_oversubscribe(tmp_path: Path) -> None:
    check(run_race(tmp_path, f"sqlite:///{tmp_path / 'race.sqlite3'}"))


@pytest.mark.postgres
def test_six_processes_on_postgresql_never_oversubscribe(tmp_path: Path, postgres: str) -> None:
    check(run_race(tmp_path, postgres))


def run_on(database: str, tmp_path: Path, program: str) -> None:
    env = environment(tmp_path, database)
    subprocess.run([sys.executable, ROOT / "manage.py", "migrate", "memory", "-v0"], env=env, check=True, timeout=60)
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.postgres
def test_history_and_the_live_picture_work_on_postgresql(tmp_path: Path, postgres: str) -> None:
    run_on(postgres, tmp_path, EVERYTHING_ELSE)


@pytest.mark.postgres
def test_two_hosts_that_thin_the_history_at_once_leave_no_sample_twice(tmp_path: Path, postgres: str) -> None:
    run_on(postgres, tmp_path, TWO_THIN)
