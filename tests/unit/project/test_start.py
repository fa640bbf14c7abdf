"""Starting an instance: what is refused before anything runs, and what a log line looks like."""

import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import Client

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


@pytest.mark.parametrize(("name", "value"), [("MEMORY_LIMIT_MB", "lots"), ("MAX_CONCURRENT_OPERATIONS", "0")])
def test_a_bad_memory_setting_stops_the_start_and_is_named(name: str, value: str, tmp_path: Path) -> None:
    env = {**os.environ, name: value, "DATA_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "stemsite.settings"}
    command = [sys.executable, "manage.py", "check"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert name in done.stderr


@pytest.mark.parametrize("value", ["", "  "])
def test_a_host_name_left_empty_is_the_machines_own(value: str, tmp_path: Path) -> None:
    env = {**os.environ, "HOST_NAME": value, "DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-c", "from stemsite.settings import HOST_NAME; print(HOST_NAME)"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == socket.gethostname()


def test_a_log_line_carries_its_context() -> None:
    record = logging.LogRecord("separation", logging.INFO, "", 0, "started", None, None)
    record.__dict__.update(job="abc", attempt=2)
    assert LineFormatter().format(record).endswith("INFO separation: started job=abc attempt=2")


@pytest.mark.django_db
def test_every_page_has_a_content_security_policy_without_inline_code(client: Client) -> None:
    policy = client.get("/login/").headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
