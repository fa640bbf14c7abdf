"""What forms may hold: a file or more than a form's worth is refused before anybody looks into it."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.integration.pages.conftest import PASSWORD
from tests.integration.pages.test_upload_form import CHOSEN, song

ANYWHERE = ["/login/", "/admin/login/", "/setup/", "/logout/", "/account/tokens/", "/metrics", "/api/problems/busy/"]


@pytest.fixture
def stranger_with_a_cookie(musician: User) -> Client:
    del musician  # without anybody every page leads to the setup page
    client = Client(enforce_csrf_checks=True)
    client.cookies["csrftoken"] = "x" * 32
    return client


@pytest.mark.parametrize("path", ANYWHERE)
def test_a_file_that_nobody_asked_for_is_refused(stranger_with_a_cookie: Client, path: str) -> None:
    assert stranger_with_a_cookie.post(path, {"file": song()}).status_code == 400


@pytest.mark.parametrize("path", ANYWHERE)
@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=b", "application/x-www-form-urlencoded"])
def test_more_than_a_forms_worth_is_refused(
    stranger_with_a_cookie: Client, path: str, kind: str, settings: Any
) -> None:
    body = bytes(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
    assert stranger_with_a_cookie.generic("POST", path, body, content_type=kind).status_code == 413


def test_below_the_api_the_refusal_is_a_problem_document(stranger_with_a_cookie: Client, settings: Any) -> None:
    body = bytes(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
    answer = stranger_with_a_cookie.generic("POST", "/api/problems/busy/", body)
    assert (answer["Content-Type"], json.loads(answer.content)["code"]) == (
        "application/problem+json",
        "body_too_large",
    )


@pytest.mark.parametrize("encoded", [True, False])
def test_a_form_is_read_either_way_it_can_be_sent(musician: User, encoded: bool) -> None:
    client = Client(enforce_csrf_checks=True)
    client.get("/login/")
    fields = {
        "username": musician.username,
        "password": PASSWORD,
        "csrfmiddlewaretoken": client.cookies["csrftoken"].value,
    }
    kind = {"content_type": "application/x-www-form-urlencoded"} if encoded else {}
    data = "&".join(f"{name}={value}" for name, value in fields.items()) if encoded else fields
    assert client.post("/login/", data, **kind)["Location"] == "/"  # type: ignore[arg-type]


def test_an_upload_form_that_is_not_sent_as_one_is_explained(page: Client) -> None:
    answer = page.post("/", "&".join(f"{n}={v}" for n, v in CHOSEN.items()), "application/x-www-form-urlencoded")
    assert (answer.status_code, "This field is required" in answer.content.decode()) == (400, True)
