"""A user with a token, another one, and requests in the tus protocol through Django's test client."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client

from separation.tokens.services import create_token

BASE = "/api/v1/uploads/"


class Tus:
    """Speaks tus for one token. `send` gives the answer whatever it is."""

    def __init__(self, token: str | None) -> None:
        self.client = Client(raise_request_exception=False)
        self.headers: dict[str, str] = {"Tus-Resumable": "1.0.0"}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"

    def send(self, method: str, path: str = BASE, data: bytes = b"", **headers: str | None) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        kind = named.pop("Content-Type", "application/offset+octet-stream" if data or method == "PATCH" else "")
        plain = {"Content-Length": str(len(data)), "Content-Type": kind}
        merged = {k: v for k, v in {**self.headers, **plain, **named}.items() if v is not None}
        return self.client.generic(method, path, data, content_type=kind or "", headers=merged)

    def create(self, length: int | str | None, data: bytes = b"", **headers: str | None) -> Any:
        if length is not None:
            headers["Upload_Length"] = str(length)
        return self.send("POST", data=data, **headers)

    def patch(self, path: str, offset: int | str, data: bytes, **headers: str | None) -> Any:
        return self.send("PATCH", path, data, Upload_Offset=str(offset), **headers)


def code_of(response: HttpResponse) -> str:
    """The problem's code; an answer that is no problem document fails the test."""
    assert response["Content-Type"] == "application/problem+json", response.content[:300]
    return str(response.json()["code"])  # type: ignore[attr-defined]


def staged() -> list[Path]:
    """Every file in the upload staging area."""
    folder = Path(settings.STAGING_DIR) / settings.HOST_NAME / "uploads"
    return sorted(folder.iterdir()) if folder.exists() else []


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, settings: Any) -> None:
    settings.STAGING_DIR = tmp_path / "staging"
    settings.STAGING_DIR.mkdir()
    settings.MEDIA_ROOT = tmp_path / "media"


@pytest.fixture
def owner(db: None) -> User:
    return User.objects.create_user("owner")


@pytest.fixture
def stranger(db: None) -> User:
    return User.objects.create_user("stranger")


@pytest.fixture
def tus(owner: User) -> Tus:
    return Tus(create_token(owner, "test")[1])


@pytest.fixture
def others_tus(stranger: User) -> Tus:
    return Tus(create_token(stranger, "test")[1])
