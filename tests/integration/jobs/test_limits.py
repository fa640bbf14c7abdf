"""The limits of a person who asks for many jobs at once, on PostgreSQL, where transactions run side by side."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.memory_admission.postgres import find_programs, temporary_server

pytestmark = pytest.mark.postgres
ROOT = Path(__file__).parents[3]
AT_ONCE = """
import json, sys, threading, time
import django
django.setup()
from django.contrib.auth.models import User
from django.db import connection, transaction
from separation import catalog, services
from separation.errors import ServiceError
from separation.models import SeparationJob, Track
from separation.services.submission import parse_options

catalog.is_ready = lambda *_: True
what, count = sys.argv[1], int(sys.argv[2])
owner = User.objects.create_user(what)
track = Track.objects.create(owner=owner, original_name="x", size=1, sha256="0" * 64, duration_seconds=3, file="x")
options, ended = parse_options({"model": "starter"}), {"owner": owner, "track": track, "state": "failed"}
jobs = [SeparationJob.objects.create(**ended, model="starter", options=options.as_dict()) for _ in range(count)]
ask = {"submit": lambda _: services.submit(owner, track, options, force=True), "retry": services.retry}[what]
answers = []

def call(job):
    try:
        answers.append(ask(job).state)
    except ServiceError as refusal:
        answers.append(refusal.code)
    finally:
        connection.close()

def blocked():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0]

threads = [threading.Thread(target=call, args=(job,), daemon=True) for job in jobs]
with transaction.atomic():
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE separation_separationjob IN SHARE MODE")  # it can be counted, and not written
    for thread in threads:
        thread.start()
    while blocked() < count:
        time.sleep(0.01)
for thread in threads:
    thread.join()
print(json.dumps(sorted(answers)))
"""


DELETED = """
import json, sys, threading, time
import django
django.setup()
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.db.models.signals import post_save
from separation import catalog, services
from separation.models import SeparationJob, Track
from separation.services.submission import parse_options

catalog.is_ready = lambda *_: True
owner = User.objects.create_user(sys.argv[1])
track = Track.objects.create(owner=owner, original_name="x", size=1, sha256="0" * 64, duration_seconds=3, file="x")
people = admin.site._registry[User]
delete = {"track": lambda: services.delete_track(track), "owner": lambda: people.delete_model(None, owner)}[sys.argv[1]]
raised = []

def run():
    try:
        delete()
    except Exception as error:
        raised.append(str(error))
    finally:
        connection.close()

def waits():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0] > 0

def meanwhile(**_):
    deletion.start()
    while deletion.is_alive() and not waits():
        time.sleep(0.01)

deletion = threading.Thread(target=run, daemon=True)
post_save.connect(meanwhile, sender=SeparationJob)
services.submit(owner, track, parse_options({"model": "starter"}), force=True)
deletion.join()
print(json.dumps([raised, Track.objects.filter(pk=track.pk).count()]))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Of a process that uses a database of its own, in which a person may have two jobs waiting."""
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL's initdb and pg_ctl are not installed")
    with temporary_server(programs) as address:
        found = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DJANGO_SETTINGS_MODULE": "stemsite.settings",
            "DATA_DIR": str(tmp_path_factory.mktemp("data")),
            "DATABASE_URL": f"{address}/postgres",
            "QUOTA_QUEUED_JOBS": "2",
        }
        subprocess.run([sys.executable, ROOT / "manage.py", "migrate", "-v0"], env=found, check=True, timeout=60)
        yield found


@pytest.mark.parametrize("what", ["submit", "retry"])
def test_of_many_jobs_asked_for_at_once_no_more_are_accepted_than_may_wait(
    what: str, environment: dict[str, str]
) -> None:
    command = [sys.executable, "-c", AT_ONCE, what, "5"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["queued"] * 2 + ["quota_exceeded"] * 3


@pytest.mark.parametrize("what", ["track", "owner"])
def test_who_deletes_what_a_job_is_just_being_asked_for_deletes_the_job_too(
    what: str, environment: dict[str, str]
) -> None:
    command = [sys.executable, "-c", DELETED, what]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], 0]
