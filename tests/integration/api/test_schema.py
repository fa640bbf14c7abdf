"""The OpenAPI document is true: schemathesis finds nothing, as owner, as another user and as nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from tests.integration.uploads.live import LiveServer

SEED = """
import json, zlib, hashlib
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from separation.models import SeparationJob, Stem, Track
owner = User.objects.get(username="owner")
data = b"sound" * 100
track = Track(owner=owner, original_name="a.wav", size=500, sha256=hashlib.sha256(data).hexdigest(), duration_seconds=3)
track.file.save("original", ContentFile(data), save=False)
track.save(force_insert=True)
job = SeparationJob.objects.create(owner=owner, track=track, model="starter", state="succeeded", progress=1)
stem = Stem(job=job, name="vocals", format="wav", size=500, sha256=track.sha256, crc32=zlib.crc32(data), samples=9,
            sample_rate=44100)
stem.file.save("1-vocals.wav", ContentFile(data), save=False)
stem.save(force_insert=True)
print(json.dumps({"tracks": str(track.pk), "jobs": str(job.pk), "stems": str(stem.pk)}))
"""
CONFIG = """
[generation]
with-security-parameters = false
deterministic = true

[checks]
# 412: the tus protocol's answer to another version. 413 and 422: what a schema cannot say, such as whose a track is.
missing_required_header.expected-statuses = [400, 401, 403, 404, 406, 411, 412, 415, 422]
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 406, 409, 411, 412, 413, 415, 416, 422, 429]
positive_data_acceptance.expected-statuses = ["2xx", "3xx", 400, 401, 403, 404, 409, 410, 411, 413, 416, 422, 429, 460]

# A batch is accepted as such; each of its jobs is refused on its own, in its result.
[[operations]]
include-name = "POST /api/v1/jobs/batch/"
checks.negative_data_rejection.enabled = false
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path_factory.mktemp("schema"), JOB_CREATIONS_PER_MINUTE="0")
    server.prepare()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def tokens(server: LiveServer) -> dict[str, str | None]:
    """Made after some that nobody uses, so that revoking number 1 does not end the test."""
    server.add_user("nobody-special")
    found = {name: server.add_user(name) for name in ("owner", "other")}
    return {**found, "nobody": None}


@pytest.fixture(scope="module")
def ids(server: LiveServer, tokens: dict[str, str | None]) -> dict[str, str]:
    return dict(json.loads(server.manage("shell", "-v", "0", "-c", SEED)))


def configuration(ids: dict[str, str]) -> str:
    """Requests that read an object are about one that exists."""
    rows = [CONFIG]
    for kind, paths in {"tracks": [""], "jobs": ["", "stems.zip"], "stems": ["audio"]}.items():
        for path in paths:
            name = f"GET /api/v1/{kind}/{{id}}/{path}"
            rows.append(f'[[operations]]\ninclude-name = "{name}"\nparameters = {{ "path.id" = "{ids[kind]}" }}\n')
    return "\n".join(rows)


@pytest.mark.parametrize(
    ("who", "phases"),
    [("owner", "examples,coverage,fuzzing"), ("other", "examples,fuzzing"), ("nobody", "examples,fuzzing")],
)
def test_every_answer_is_one_the_document_announces(
    server: LiveServer,
    tokens: dict[str, str | None],
    ids: dict[str, str],
    tmp_path: Path,
    who: str,
    phases: str,
) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(configuration(ids))
    hooks = str(Path(__file__).with_name("schemathesis_hooks.py"))
    command = [str(Path(sys.executable).with_name("st")), "--config-file", str(config), "run"]
    options = ["--phases", phases, "--max-examples", "3", "--no-color", "--no-shrink"]
    options += ["--continue-on-failure", "--warnings", "off", "--workers", "1", "--generation-database", "none"]
    if token := tokens[who]:
        options += ["-H", f"Authorization: Bearer {token}"]
    result = subprocess.run(
        [*command, f"{server.url}/api/schema/?format=json", *options],
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": hooks},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-12_000:] + result.stderr[-2_000:]
    assert "unexpected error" not in server.log.read_text()


def test_the_document_is_valid_openapi_without_a_guess(db: None, capsys: pytest.CaptureFixture[str]) -> None:
    schema = SchemaGenerator().get_schema(request=None, public=True)
    validate_schema(schema)
    assert schema["openapi"].startswith("3.1")
    assert "Warning" not in capsys.readouterr().err
    assert {"/api/v1/uploads/", "/api/v1/jobs/", "/api/v1/stems/{id}/audio"} <= set(schema["paths"])


def test_every_operation_names_its_problems(db: None) -> None:
    schema = SchemaGenerator().get_schema(request=None, public=True)
    for item in schema["paths"].values():
        for operation in item.values():
            if operation.get("security") != [{}]:
                assert "401" in operation["responses"], operation["operationId"]


def test_a_token_or_a_session_is_enough(db: None) -> None:
    schema = SchemaGenerator().get_schema(request=None, public=True)
    wanted = [item["security"] for path in schema["paths"].values() for item in path.values() if "security" in item]
    assert max(len(scheme) for each in wanted for scheme in each) == 1
    assert [{"token": []}, {"session": []}] in wanted


def test_the_page_of_the_document_needs_nothing_from_elsewhere(db: None) -> None:
    client = Client()
    page = client.get("/api/docs/").content.decode()
    assert "http://" not in page and "https://" not in page
    assert "<style" not in page and "<script>" not in page
    script = client.get("/api/docs/?script=")
    assert script["Content-Type"].startswith("application/javascript")
    assert b"SwaggerUIBundle(" in script.content


def test_the_document_can_be_read_without_an_account(db: None) -> None:
    assert Client().get("/api/schema/?format=json").json()["info"]["title"] == "Stemsite"
