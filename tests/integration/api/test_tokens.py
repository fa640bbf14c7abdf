"""Access tokens: hashed, named, scoped, expiring; made on the command line too."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from separation.errors import ServiceError
from separation.tokens import services
from separation.tokens.models import AccessToken
from separation.tokens.services import MAX_PER_USER, create_token, recognise
from tests.integration.api.conftest import api_for


def test_a_token_is_kept_only_as_a_digest(owner: User) -> None:
    token, text = create_token(owner, "laptop")
    assert text not in str(AccessToken.objects.values().get())
    assert text.startswith(token.hint) and len(text) > 40
    assert recognise(text) == token


def test_an_expired_token_opens_nothing(owner: User) -> None:
    _, text = create_token(owner, "t", expires_at=timezone.now() + timedelta(hours=1))
    assert recognise(text) is not None
    AccessToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert recognise(text) is None


def test_the_last_use_is_noted(owner: User) -> None:
    _, text = create_token(owner, "t")
    recognise(text)
    assert AccessToken.objects.get().last_used_at is not None


@pytest.mark.parametrize(
    "values",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"name": "a\nb"},
        {"scopes": []},
        {"scopes": ["everything"]},
        {"scopes": ["staff"]},
        {"expires_at": timezone.now() - timedelta(days=1)},
    ],
)
def test_a_token_that_makes_no_sense_is_refused(owner: User, values: dict[str, Any]) -> None:
    with pytest.raises(ServiceError):
        create_token(owner, **{"name": "t", **values})
    assert AccessToken.objects.count() == 0


def test_the_number_of_tokens_is_limited(owner: User) -> None:
    for number in range(MAX_PER_USER):
        create_token(owner, f"t{number}")
    with pytest.raises(ServiceError):
        create_token(owner, "one more")


def faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a turn finds then that somebody else has made a token meanwhile."""
    monkeypatch.setattr(services, "take_turn", lambda user: AccessToken.objects.create(user=user, digest="other"))


def test_the_number_of_tokens_is_counted_once_it_is_ones_turn(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(MAX_PER_USER - 1):
        create_token(owner, f"t{number}")
    faster(monkeypatch)
    with pytest.raises(ServiceError, match="Revoke one first"):
        create_token(owner, "one more")


def test_the_command_prints_a_token_that_works(owner: User) -> None:
    out = StringIO()
    call_command("create_token", "owner", "--name", "cron", "--days", "30", stdout=out)
    assert api_for(out.getvalue().strip())("GET", "/api/v1/jobs/").status_code == 200
    token = AccessToken.objects.get()
    assert (token.name, token.scopes) == ("cron", ["read", "submit"])
    assert token.expires_at is not None


@pytest.mark.parametrize(
    "arguments",
    [["nobody"], ["owner", "--scope", "staff"], ["owner", "--days", "-1"], ["owner", "--days", "99999999999"]],
)
def test_the_command_says_what_is_wrong(owner: User, arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("create_token", *arguments)


def test_the_admin_makes_a_token_and_shows_it_once(db: None) -> None:
    boss = User.objects.create_superuser("boss")
    client = Client()
    client.force_login(boss)
    body = {"user": boss.pk, "name": "t", "scopes": ["read", "staff"]}
    page = client.post("/admin/tokens/accesstoken/add/", body, follow=True).content.decode()
    text = page.partition("shown this once: ")[2].split("<")[0].strip()
    assert recognise(text) == AccessToken.objects.get()
    assert text not in client.get("/admin/tokens/accesstoken/").content.decode()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scopes": ["staff"]}, "Only staff can have tokens with the staff scope."),
        ({"expires_at_0": "2020-01-01", "expires_at_1": "00:00"}, "The expiry must lie in the future."),
        ({"name": "a\u202eb"}, "Give the token a name of 1 to 100 characters."),
        ({"user": ""}, "This field is required."),
    ],
)
def test_the_admin_says_what_is_wrong_with_a_token(owner: User, change: dict[str, Any], words: str) -> None:
    page = asked_in_admin({"user": owner.pk, "name": "t", "scopes": ["read"], **change})
    assert words in page and AccessToken.objects.count() == 0


def test_the_admin_says_that_a_user_has_all_the_tokens_there_can_be(owner: User) -> None:
    for number in range(MAX_PER_USER):
        create_token(owner, f"t{number}")
    page = asked_in_admin({"user": owner.pk, "name": "t", "scopes": ["read"]})
    assert "Revoke one first." in page and AccessToken.objects.count() == MAX_PER_USER


def test_the_admin_says_that_somebody_was_faster(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(MAX_PER_USER - 1):
        create_token(owner, f"t{number}")
    faster(monkeypatch)
    page = asked_in_admin({"user": owner.pk, "name": "t", "scopes": ["read"]})
    assert "Revoke one first." in page and not AccessToken.objects.filter(name="t").exists()


def asked_in_admin(body: dict[str, Any]) -> str:
    client = Client()
    client.force_login(User.objects.create_superuser("boss"))
    response = client.post("/admin/tokens/accesstoken/add/", body, follow=True)
    assert response.status_code == 200
    return response.content.decode()


def test_the_admin_revokes(db: None) -> None:
    boss = User.objects.create_superuser("boss")
    token, text = create_token(boss, "t")
    client = Client()
    client.force_login(boss)
    client.post("/admin/tokens/accesstoken/", {"action": "revoke", "_selected_action": [token.pk]})
    assert recognise(text) is None


@pytest.mark.parametrize("path", ["uploads/upload/", "webhooks/delivery/", "webhooks/endpoint/", "tokens/accesstoken/"])
def test_the_admin_lists_can_be_opened(db: None, path: str) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("boss"))
    assert client.get(f"/admin/{path}").status_code == 200
