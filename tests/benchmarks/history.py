"""Lists when the history is long: `python -m tests.benchmarks.history [--count 1000000]`.

The same pages over 1,000 jobs and over many, in instances of their own, asked through Django's test client; the
best of many requests, so that a busy machine matters less. Goal: at most twice the time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.acceptance.instance import Instance

GOAL = 2.0
FEW = 1000
MEASURE = """
import time
from django.contrib.auth.models import User
from django.test import Client
boss = User.objects.get(username="bulk")
User.objects.filter(pk=boss.pk).update(is_staff=True, is_superuser=True)
client = Client()
client.force_login(boss)
admin = "/admin/separation/separationjob/"
pages = {
    "admin history": admin, "admin history, page 16": admin + "?p=15", "admin, failed": admin + "?state=failed",
    "admin, a rare reason": admin + "?reason=disk_full", "admin, search by user": admin + "?q=bulk",
    "jobs page": "/jobs/", "API, jobs": "/api/v1/jobs/",
}
def once(url):
    began = time.perf_counter()
    assert client.get(url).status_code == 200, url
    return time.perf_counter() - began
rounds = [{name: once(url) for name, url in pages.items()} for _ in range(25)]  # a busy moment spoils one round
answer = {name: min(times[name] for times in rounds) for name in pages}
"""


def measure(folder: Path, count: int) -> dict[str, float]:
    """Seconds per page of an instance with `count` jobs."""
    folder.mkdir()
    with Instance(folder, LOG_LEVEL="ERROR", ALLOWED_HOSTS="testserver") as instance:
        instance.manage("collectstatic", "--noinput", "--verbosity=0")
        command = [sys.executable, "manage.py", "make_jobs", "--count", str(count)]
        subprocess.run(command, env=instance.environment, check=True, stdout=subprocess.DEVNULL)
        return dict(instance.python(MEASURE))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.history", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="stemsite-history-") as folder:
        few, many = (measure(Path(folder) / str(count), count) for count in (FEW, options.count))
    rows = [(name, few[name], many[name], many[name] / few[name]) for name in few]
    if options.json:
        print(json.dumps(rows))
    else:
        show(rows, options.count)
    return 0 if all(ratio <= GOAL for *_, ratio in rows) else 1


def show(rows: list[tuple[str, float, float, float]], count: int) -> None:
    print(f"{'page':26}{f'{FEW:,} jobs':>14}{f'{count:,} jobs':>18}{'ratio':>8}   goal: at most {GOAL:g}")
    for name, few, many, ratio in rows:
        print(f"{name:26}{few * 1000:11.1f} ms{many * 1000:15.1f} ms{ratio:8.2f}")


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parents[2])
    sys.exit(main())
