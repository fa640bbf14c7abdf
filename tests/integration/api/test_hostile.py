"""What nobody should send, and that each of it gets a problem document of the right kind, never a 500."""

import json
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client

from separation.models import SeparationJob, Track
from separation.tokens.services import create_token, list_tokens, revoke_token
from tests.integration.api.conftest import Api, api_for, code_of

JOBS = "/api/v1/jobs/"


def send(api: Any, body: bytes, kind: str = "application/json", path: str = JOBS, **headers: str) -> Any:
    named = {"Authorization": f"Bearer {api.token}", **headers}
    return Client(raise_request_exception=False).generic("POST", path, body, content_type=kind, headers=named)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed_body"),
        (b"[]", 400, "malformed_body"),
        (b"5", 400, "malformed_body"),
        (b"null", 400, "malformed_body"),
        (b'"x"', 400, "malformed_body"),
        (b"\xff\xfe", 400, "malformed_body"),
        (b'{"shifts": NaN}', 400, "malformed_body"),
        (b'{"shifts": Infinity}', 400, "malformed_body"),
        (b'{"model": "a\\u0000b"}', 400, "malformed_body"),
        (b'{"model": "\\ud800"}', 400, "malformed_body"),
        (b'{"\\ud800": 1}', 400, "malformed_body"),
        (b"[" * 100_000, 400, "malformed_body"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, 400, "malformed_body"),
        (b'{"a": ' + b"9" * 5000 + b"}", 400, "malformed_body"),
        (b'{"a": "' + b"x" * 1_100_000 + b'"}', 413, "body_too_large"),
    ],
)
def test_a_body_that_is_no_reasonable_json_object_is_refused(api: Api, body: bytes, status: int, code: str) -> None:
    response = send(api, body)
    assert (response.status_code, code_of(response)) == (status, code)


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "nonsense"])
def test_another_media_type_is_refused(api: Api, kind: str) -> None:
    response = send(api, b"{}", kind)
    assert (response.status_code, code_of(response)) == (415, "unsupported_media_type")


def test_an_empty_body_asks_for_nothing(api: Api) -> None:
    assert (send(api, b"").status_code, SeparationJob.objects.count()) == (422, 0)


@pytest.mark.parametrize("path", ["jobs/", "webhooks/", "stems/00000000-0000-4000-8000-000000000000/link/"])
def test_a_body_of_unknown_length_is_refused(api: Api, path: str) -> None:
    response = send(api, b"{}", path=f"/api/v1/{path}", **{"Transfer-Encoding": "chunked"})
    assert (response.status_code, code_of(response)) == (411, "length_required")


def test_a_number_beyond_every_limit_is_an_invalid_option(api: Api, track: Track) -> None:
    body = json.dumps({"track": str(track.pk), "seed": 10**400}).encode()
    assert code_of(send(api, body)) in ("invalid_option", "malformed_body")


@pytest.mark.parametrize(
    "path",
    [
        "/api/",
        "/api/v2/jobs/",
        "/api/v1/nothing/",
        "/api/v1/jobs/not-an-id/",
        "/api/v1/jobs/%00/",
        "/api/v1/jobs/..%2f..%2fetc%2fpasswd/",
        "/api/v1/stems/%2e%2e/audio",
        "/api/v1/jobs/00000000-0000-4000-8000-000000000000%2f/",
        "/api/v1/jobs/%ff/",
    ],
)
def test_an_address_that_is_not_there_is_a_problem_document(api: Api, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        response = api(method, path)
        assert (response.status_code, code_of(response)) in ((404, "not_found"), (405, "method_not_allowed"))


def test_a_missing_closing_slash_is_put_right_without_losing_the_method(api: Api) -> None:
    response = api("POST", "/api/v1/jobs?x=1", {})
    assert (response.status_code, response["Location"]) == (308, "/api/v1/jobs/?x=1")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE"])
def test_a_method_that_is_not_there_is_told_which_are(api: Any, method: str) -> None:
    headers = {"Authorization": f"Bearer {api.token}"}
    response = Client(raise_request_exception=False).generic(method, JOBS, headers=headers)
    assert (response.status_code, code_of(response)) == (405, "method_not_allowed")
    assert {"GET", "POST"} <= set(response["Allow"].split(", "))


def test_a_media_type_that_cannot_be_given_is_a_problem_document(api: Api) -> None:
    response = api("GET", JOBS, Accept="text/csv")
    assert (response.status_code, code_of(response)) == (406, "not_acceptable")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "a b", "x/../y", "[::", ""])
def test_a_host_that_is_not_ours_is_refused(db: None, host: str) -> None:
    response = Client(raise_request_exception=False).get(JOBS, headers={"Host": host})
    assert (response.status_code, code_of(response)) == (400, "bad_request")  # and not a 401, as for any stranger


def test_a_forwarded_host_changes_nothing(api: Api) -> None:
    body = json.dumps(api("GET", "/api/v1/models/", X_Forwarded_Host="evil.example").json())
    assert "evil.example" not in body


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Basic dXNlcjpwdw==", "Bearer nonsense", "nonsense", "Bearer é", "Bearer a b"]
)
def test_a_credential_that_opens_nothing_is_a_401(db: None, header: str) -> None:
    response = Client(raise_request_exception=False).get(JOBS, headers={"Authorization": header})
    assert (response.status_code, code_of(response) in ("invalid_token", "not_authenticated")) == (401, True)
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_a_revoked_token_opens_nothing_at_once(owner: User) -> None:
    token, text = create_token(owner, "t")
    assert api_for(text)("GET", JOBS).status_code == 200
    revoke_token(owner, token.pk)
    assert code_of(api_for(text)("GET", JOBS)) == "invalid_token"


def test_a_deactivated_users_token_opens_nothing(owner: User, api: Api) -> None:
    User.objects.update(is_active=False)
    assert code_of(api("GET", JOBS)) == "invalid_token"


def test_a_token_that_may_only_read_cannot_change_anything(owner: User, track: Track) -> None:
    api = api_for(create_token(owner, "t", ["read"])[1])
    assert api("GET", JOBS).status_code == 200
    for method, path in (("POST", JOBS), ("DELETE", f"/api/v1/tracks/{track.pk}/"), ("POST", "/api/v1/tracks/")):
        assert code_of(api(method, path, {})) == "insufficient_scope"


def test_a_token_that_may_only_read_can_revoke_itself_and_no_other(owner: User) -> None:
    other = create_token(owner, "other")[0]
    token, text = create_token(owner, "t", ["read"])
    assert code_of(api_for(text)("DELETE", f"/api/v1/tokens/{other.pk}/")) == "session_required"
    assert api_for(text)("DELETE", f"/api/v1/tokens/{token.pk}/").status_code == 204
    assert list(list_tokens(owner)) == [other]


def test_a_token_cannot_make_tokens(api: Api, owner: User) -> None:
    assert code_of(api("POST", "/api/v1/tokens/", {"name": "more"})) == "session_required"
    assert list_tokens(owner).count() == 1


def test_only_staff_sees_live_memory(api: Api, owner: User) -> None:
    assert code_of(api("GET", "/api/v1/memory/")) == "staff_only"
    User.objects.update(is_staff=True)
    assert code_of(api("GET", "/api/v1/memory/")) == "insufficient_scope"
    owner.refresh_from_db()
    staff = api_for(create_token(owner, "t", ["read", "staff"])[1])
    assert "host" in staff("GET", "/api/v1/memory/").json()


@pytest.fixture
def browser(owner: User) -> Client:
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    client.force_login(owner)
    return client


def test_a_session_without_its_csrf_token_changes_nothing(browser: Client, track: Track) -> None:
    for path in (JOBS, "/api/v1/tracks/", "/api/v1/uploads/"):
        headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "5"}
        response = browser.post(path, {}, content_type="application/json", headers=headers)
        assert (response.status_code, code_of(response)) == (403, "csrf_failed")
    assert browser.get(JOBS).status_code == 200


def test_a_session_with_its_csrf_token_is_as_good_as_a_token(browser: Client, track: Track) -> None:
    from django.middleware.csrf import _get_new_csrf_string

    secret = _get_new_csrf_string()
    browser.cookies["csrftoken"] = secret
    for path, status in ((JOBS, 202), ("/api/v1/uploads/", 201)):
        headers = {"X-CSRFToken": secret, "Tus-Resumable": "1.0.0", "Upload-Length": "5"}
        body = {"track": str(track.pk)} if path == JOBS else None
        response = browser.post(path, body or b"", content_type="application/json", headers=headers)
        assert response.status_code == status, response.content
    wrong = {"X-CSRFToken": _get_new_csrf_string()}
    assert code_of(browser.post(JOBS, {}, content_type="application/json", headers=wrong)) == "csrf_failed"


def test_a_session_makes_lists_and_revokes_tokens(browser: Client, owner: User) -> None:
    from django.middleware.csrf import _get_new_csrf_string

    secret = _get_new_csrf_string()
    browser.cookies["csrftoken"] = secret
    headers = {"X-CSRFToken": secret}
    body = {"name": "laptop", "scopes": ["read"]}
    made = browser.post("/api/v1/tokens/", body, content_type="application/json", headers=headers)
    text = made.json()["token"]
    assert (made.status_code, api_for(text)("GET", JOBS).status_code) == (201, 200)
    listed = browser.get("/api/v1/tokens/").json()["results"]
    assert [row["name"] for row in listed] == ["laptop"] and "token" not in listed[0]
    assert browser.delete(f"/api/v1/tokens/{listed[0]['id']}/", headers=headers).status_code == 204
    assert api_for(text)("GET", JOBS).status_code == 401


def test_someone_elses_token_cannot_be_revoked(browser: Client, stranger: User) -> None:
    from django.middleware.csrf import _get_new_csrf_string

    token, _ = create_token(stranger, "t")
    secret = _get_new_csrf_string()
    browser.cookies["csrftoken"] = secret
    for number in (token.pk, 10**30):
        response = browser.delete(f"/api/v1/tokens/{number}/", headers={"X-CSRFToken": secret})
        assert response.status_code == 404
    assert list_tokens(stranger).count() == 1


def test_an_exception_nobody_expected_is_a_500_problem_without_details(api: Api, monkeypatch: Any) -> None:
    from separation.api.views import service

    def broken(_: Any) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(service, "usage_of", broken)
    response = api("GET", "/api/v1/limits/")
    assert (response.status_code, code_of(response)) == (500, "internal_error")
    assert b"secret detail" not in response.content


def test_what_a_problem_means_can_be_read_at_its_type(api: Api) -> None:
    kind = api("GET", f"{JOBS}{uuid4()}/").json()["type"]
    assert Client().get(kind).content.startswith(b"not_found: ")
    assert Client().get("/api/problems/never-heard-of/").status_code == 404
