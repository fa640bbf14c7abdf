"""The first start: everything leads to the setup page until one account has been made, and only one can be."""

import threading

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client

from separation import setup

GOOD = {"username": "ada", "password1": "correct horse battery", "password2": "correct horse battery"}
pytestmark = pytest.mark.django_db


def answer(**changes: str) -> dict[str, str]:
    return {**GOOD, "code": setup.setup_code(), **changes}


@pytest.mark.parametrize("path", ["/", "/jobs/", "/tracks/", "/login/", "/admin/", "/nothing-here"])
def test_every_page_leads_to_setup_while_there_is_no_user(client: Client, path: str) -> None:
    assert client.get(path)["Location"] == "/setup/"


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/jobs/"])
def test_programs_are_not_led_to_setup(client: Client, path: str) -> None:
    assert client.get(path).status_code != 302


def test_the_right_code_makes_a_superuser_and_logs_in(client: Client) -> None:
    response = client.post("/setup/", answer())
    assert response["Location"] == "/"
    user = User.objects.get()
    assert user.is_superuser and user.is_staff
    assert client.get("/").status_code == 200


def test_the_code_is_forgiven_its_case_and_dashes(client: Client) -> None:
    client.post("/setup/", answer(code=setup.setup_code().lower().replace("-", " ")))
    assert User.objects.exists()


@pytest.mark.parametrize("code", ["", "AAAA-AAAA-AAAA", "a" * 5000, "\x00", "ÄÖÜ"])
def test_a_wrong_code_makes_no_account(client: Client, code: str) -> None:
    assert client.post("/setup/", answer(code=code)).status_code == 400
    assert not User.objects.exists()


def test_a_weak_password_is_refused_with_its_reason(client: Client) -> None:
    response = client.post("/setup/", answer(password1="password", password2="password"))
    assert "too common" in response.content.decode()
    assert not User.objects.exists()


def test_after_a_few_wrong_codes_even_the_right_one_has_to_wait(client: Client) -> None:
    for _ in range(setup.MAX_GUESSES):
        client.post("/setup/", answer(code="AAAA-AAAA-AAAA"))
    response = client.post("/setup/", answer())
    assert response.status_code == 429
    assert 0 < int(response["Retry-After"]) <= setup.GUESS_WINDOW_SECONDS + 1
    assert not User.objects.exists()


def test_the_setup_page_is_closed_once_there_is_a_user(client: Client, musician: User) -> None:
    assert client.get("/setup/")["Location"] == "/"
    assert client.post("/setup/", answer(username="eve"))["Location"] == "/"
    assert User.objects.count() == 1


def test_the_command_prints_the_code_only_while_it_opens_something(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("setup_code")
    assert setup.setup_code() in capsys.readouterr().out
    User.objects.create_user("ada")
    call_command("setup_code")
    assert capsys.readouterr().out == ""


@pytest.mark.django_db(transaction=True)
def test_of_two_simultaneous_posts_one_makes_the_account() -> None:
    start, places = threading.Barrier(2), []

    def post(name: str) -> None:
        form = answer(username=name)
        start.wait()
        places.append(Client().post("/setup/", form)["Location"])
        connection.close()

    threads = [threading.Thread(target=post, args=(name,)) for name in ("ada", "eve")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert User.objects.count() == 1
    assert "/" in places
