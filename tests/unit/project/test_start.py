"""Starting an instance: what is refused before anything runs, and what a log line looks like."""

import logging
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import Client

from stemsite.carrier import carry
from stemsite.instance import hold
from stemsite.logs import LineFormatter
from stemsite.run import require_free_port

ROOT = Path(__file__).resolve().parents[3]


def test_a_port_in_use_is_refused_with_a_way_out() -> None:
    refusal = pytest.raises(SystemExit, match=r"another program uses it\. Choose another with PORT=")
    with socket.create_server(("127.0.0.1", 0)) as taken, refusal:
        require_free_port("127.0.0.1", taken.getsockname()[1])


def test_a_free_port_is_accepted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    require_free_port("127.0.0.1", port)


CARRIED = """
import os, signal
from stemsite.run import have_output_carried
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
have_output_carried()
with open("/dev/fd/1", "ab") as again:
    again.write(b"carried")
"""


def test_output_to_a_socket_as_systemd_has_it_can_be_opened_again_and_arrives() -> None:
    ours, theirs = socket.socketpair()
    ours.shutdown(socket.SHUT_WR)
    subprocess.run([sys.executable, "-c", CARRIED], cwd=ROOT, stdout=theirs, check=True)
    theirs.close()
    with ours, ours.makefile("rb") as arriving:
        assert arriving.read() == b"carried"


def test_output_that_nobody_takes_any_more_ends_the_start_and_fails_nobody() -> None:
    script = CARRIED + "assert signal.sigwait({signal.SIGTERM})\nos.write(1, b'more' * 100_000)\n"
    read, write = os.pipe()
    os.close(read)
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, stdout=write, check=True, timeout=60)
    os.close(write)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a full device")
def test_output_that_finds_a_full_disk_is_dropped() -> None:
    (read, write), full = os.pipe(), os.open("/dev/full", os.O_WRONLY)
    os.write(write, b"a line")
    os.close(write)
    assert carry(read, full)
    os.close(read)
    os.close(full)


@pytest.mark.parametrize(("before", "means"), [("SIG_DFL", signal.SIGTERM), ("SIG_IGN", None)])
def test_a_hangup_is_an_end_for_the_process_manager_and_nothing_under_nohup(
    before: str, means: signal.Signals | None
) -> None:
    script = f"""
import signal
from stemsite.manager import Options
signal.signal(signal.SIGHUP, signal.{before})
options = Options()
options.setsignals()
signal.raise_signal(signal.SIGHUP)
print(repr(options.get_signal()))
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == repr(means)


def test_a_second_start_on_the_same_data_is_refused_in_one_sentence(tmp_path: Path) -> None:
    descriptor = hold(tmp_path)
    command, env = [sys.executable, "-m", "stemsite.run"], {**os.environ, "DATA_DIR": str(tmp_path)}
    env["DJANGO_SETTINGS_MODULE"] = "stemsite.settings"
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=120)
    os.close(descriptor)
    said = [line for line in done.stderr.splitlines() if "in use" in line or "Traceback" in line]
    assert (done.returncode, len(said)) == (1, 1)
    assert said[0].startswith(f"DATA_DIR {tmp_path} is in use by process {os.getpid()}; ")


def checked(data_dir: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    """`manage.py check` under these environment variables."""
    env = {**os.environ, "DATA_DIR": str(data_dir), "DJANGO_SETTINGS_MODULE": "stemsite.settings", **settings}
    command = [sys.executable, "manage.py", "check"]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_every_bad_number_stops_the_start_and_is_named(tmp_path: Path) -> None:
    bad = {
        "MEMORY_LIMIT_MB": "lots",
        "MAX_CONCURRENT_OPERATIONS": "0",
        "UPLOAD_STALL_SECONDS": "60s",
        "WEBHOOK_TIMEOUT_SECONDS": "ten",
        "UPLOAD_CREATIONS_PER_MINUTE": "lots",
        "JOB_CREATIONS_PER_MINUTE": "1.5",
        "RETENTION_HOURS_UPLOADS": "nan",
    }
    done = checked(tmp_path, **bad)
    assert done.returncode == 1
    assert set(re.findall(r"E\d+\) (\w+) is ", done.stderr)) == set(bad)


def test_an_upload_that_would_have_expired_as_it_begins_stops_the_start(tmp_path: Path) -> None:
    done = checked(tmp_path, RETENTION_HOURS_UPLOADS="0")
    assert (done.returncode, "RETENTION_HOURS_UPLOADS is 0;" in done.stderr) == (1, True)


@pytest.mark.parametrize("value", ["", "  "])
def test_a_host_name_left_empty_is_the_machines_own(value: str, tmp_path: Path) -> None:
    env = {**os.environ, "HOST_NAME": value, "DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-c", "from stemsite.settings import HOST_NAME; print(HOST_NAME)"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == socket.gethostname()


def test_a_number_of_hours_may_have_a_fraction(tmp_path: Path) -> None:
    assert checked(tmp_path, RETENTION_HOURS_UPLOADS="0.5", MEMORY_CHECK_INTERVAL="10").returncode == 0


@pytest.mark.parametrize("name", ["c++", "band#1", "what?", "100%41", "a b"])
def test_a_data_folder_of_any_name_holds_the_database_and_the_cache(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name / "data"
    env = {**os.environ, "DATA_DIR": str(folder)}
    script = (
        "from stemsite import settings as s; print(s.DATABASES['default']['NAME'], s.CACHES['default']['LOCATION'])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{folder / 'stemsite.sqlite3'} {folder / 'cache'}"


def test_a_log_line_carries_its_context() -> None:
    record = logging.LogRecord("separation", logging.INFO, "", 0, "started", None, None)
    record.__dict__.update(job="abc", attempt=2)
    assert LineFormatter().format(record).endswith("INFO separation: started job=abc attempt=2")


@pytest.mark.django_db
def test_every_page_has_a_content_security_policy_without_inline_code(client: Client) -> None:
    policy = client.get("/login/").headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
