"""`/healthz` and `/readyz`."""

import errno
from typing import Any

import pytest
from django.db import InterfaceError, connection
from django.test import Client

from separation.api import health
from separation.services import disk


def test_a_process_that_answers_is_alive(db: None) -> None:
    assert Client().get("/healthz").json() == {"status": "ok"}


def test_without_workers_the_instance_is_not_ready_and_says_so(db: None) -> None:
    response = Client().get("/readyz")
    body = response.json()
    assert (response.status_code, body["status"], body["checks"]["workers"]["ok"]) == (503, "unavailable", False)
    assert body["checks"]["database"]["ok"] is True
    assert response["Retry-After"]


def test_a_database_whose_connection_is_gone_is_said_not_to_answer(db: None) -> None:
    def gone(*_: object) -> None:
        raise InterfaceError("connection already closed")

    with connection.execute_wrapper(gone):
        response = Client(raise_request_exception=False).get("/readyz")
    assert response.status_code == 503
    assert response.json()["checks"]["database"] == {"ok": False, "detail": "the database does not answer"}


def test_staging_that_the_first_job_will_make_is_no_hindrance(settings: Any) -> None:
    settings.STAGING_DIR = settings.STAGING_DIR / "not" / "yet"
    assert health.disk() == ""


def test_a_disk_that_cannot_be_read_is_said_not_to_answer(monkeypatch: Any) -> None:
    def fail(_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(disk.shutil, "disk_usage", fail)
    assert health.disk() == "the disk does not answer"


def test_an_instance_with_everything_is_ready(db: None, monkeypatch: Any) -> None:
    monkeypatch.setattr(health, "CHECKS", dict.fromkeys(health.CHECKS, lambda: ""))
    response = Client().get("/readyz")
    assert (response.status_code, response.json()["status"]) == (200, "ok")


def test_health_is_only_read(db: None) -> None:
    assert Client().post("/healthz").status_code == 405


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_need_neither_the_name_of_the_site_nor_tls(db: None, settings: Any, path: str) -> None:
    settings.ALLOWED_HOSTS, settings.SECURE_SSL_REDIRECT = ["stems.example.org"], True
    response = Client().get(path, headers={"host": "10.1.2.3:8000"})
    assert response.json()["status"] in ("ok", "unavailable")


def test_everything_else_needs_the_name_of_the_site(db: None, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["stems.example.org"]
    assert Client().get("/api/v1/models/", headers={"host": "10.1.2.3:8000"}).status_code == 400
