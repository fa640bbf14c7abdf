"""Settings and machines that would make jobs fail are reported at start, each under its own id."""

import ast
import inspect
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.conf import settings as live
from django.core.checks import run_checks

import stemsite.settings
from memory.conf import NUMBERS
from separation import catalog
from separation.checks import RANGES, SWITCHES, check_cache, check_storage, django_q_problems
from separation.ffmpeg import OVERRIDE


def ids() -> set[str]:
    return {message.id for message in run_checks() if (message.id or "").startswith("separation.")} - {
        "separation.W001"
    }


def test_the_production_settings_have_no_error() -> None:
    assert ids() == set()


def test_a_missing_ffmpeg_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OVERRIDE, "/nowhere/ffmpeg")
    assert ids() == {"separation.E001"}


@pytest.mark.parametrize("name", ["STAGING_DIR", "MODEL_DIR", "MEDIA_ROOT"])
def test_a_folder_that_is_a_file_is_an_error(name: str, settings, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "file").write_text("")
    setattr(settings, name, tmp_path / "file" / "folder")
    assert ids() == {"separation.E002"}


@pytest.mark.parametrize(
    ("change", "about"),
    [
        ({"retry": 10}, "retry"),
        ({"timeout": 60}, "timeout"),
        ({"workers": 3}, "workers"),
        ({"queue_limit": 9}, "queue_limit"),
        ({"bulk": 10}, "bulk"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"ack_failures": False}, "ack_failures"),
        ({"sync": True}, "sync"),
    ],
)
def test_a_broker_setting_under_which_jobs_run_twice_or_never_is_named(change: dict[str, object], about: str) -> None:
    assert list(django_q_problems(live.Q_CLUSTER, 3)) == []
    problems = list(django_q_problems({**live.Q_CLUSTER, **change}, 3))
    assert len(problems) == 1 and problems[0].startswith(about)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JOB_LEASE_SECONDS", 0),
        ("JOB_MAX_ATTEMPTS", "three"),
        ("MAX_UPLOAD_BYTES", 1.5),
        ("ENGINE_THREADS", -1),
        ("PORT", 65536),
        ("RETENTION_DAYS_TRACKS", 1_000_000),
        ("RETENTION_HOURS_UPLOADS", 10**400),
    ],
)
def test_a_setting_that_is_no_such_number_is_an_error(name: str, value: object, settings) -> None:  # type: ignore[no-untyped-def]
    setattr(settings, name, value)
    assert ids() == {"separation.E004"}


@pytest.mark.parametrize(("reader", "checked"), [("number", {*RANGES, *NUMBERS}), ("switch", set(SWITCHES))])
def test_every_number_and_switch_among_the_settings_is_checked(reader: str, checked: set[str]) -> None:
    calls = (node for node in ast.walk(ast.parse(inspect.getsource(stemsite.settings))) if isinstance(node, ast.Call))
    read = {
        ast.literal_eval(call.args[0]) for call in calls if isinstance(call.func, ast.Name) and call.func.id == reader
    }
    assert read == checked


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_that_is_neither_on_nor_off_is_an_error(settings, name: str) -> None:  # type: ignore[no-untyped-def]
    setattr(settings, name, "maybe")
    assert ids() == {"separation.E007"}


def test_a_cache_whose_package_is_missing_is_an_error_that_names_it(settings) -> None:  # type: ignore[no-untyped-def]
    if find_spec("redis") is not None:
        pytest.skip("redis is installed")
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://c"}}
    assert [(error.id, error.hint) for error in check_cache()] == [("separation.E008", "pip install redis")]


@pytest.mark.parametrize(
    "storage",
    [
        {"BACKEND": "nowhere.Storage"},
        {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"bucket": "secret"}},
    ],
)
def test_a_storage_that_cannot_be_made_is_an_error_without_its_options(settings, storage: dict[str, object]) -> None:  # type: ignore[no-untyped-def]
    settings.STORAGES = {**settings.STORAGES, "default": storage}
    (error,) = check_storage()
    assert (error.id, "secret" in error.msg) == ("separation.E009", False)
    assert ids() == {"separation.E009"}


@pytest.mark.parametrize(
    "name", ["http://music.example.org", "music.example.org:8000", "music.example.org/", "a b", "::1", ""]
)
def test_a_name_that_no_request_can_have_is_an_error(settings, name: str) -> None:  # type: ignore[no-untyped-def]
    settings.ALLOWED_HOSTS = ["localhost", name]
    assert ids() == {"separation.E010"}


@pytest.mark.parametrize("name", ["*", ".example.org", "music.example.org", "10.0.0.1", "[::1]", "my_host", "stems"])
def test_a_name_that_requests_can_have_is_none(settings, name: str) -> None:  # type: ignore[no-untyped-def]
    settings.ALLOWED_HOSTS = [name]
    assert ids() == set()


def test_an_unknown_default_model_is_an_error(settings) -> None:  # type: ignore[no-untyped-def]
    settings.DEFAULT_MODEL = "spleeter"
    assert ids() == {"separation.E005"}


def test_weights_that_are_not_here_are_a_warning(settings, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    settings.DEFAULT_MODEL, settings.MODEL_DIR = catalog.RELEASE_MODEL, tmp_path
    assert "separation.W001" in {message.id for message in run_checks()}


@pytest.mark.parametrize("device", ["abacus", "auto", "cuda:x", "cuda:", "cuda:1:2", ""])
def test_an_unknown_device_is_an_error(settings, device: str) -> None:  # type: ignore[no-untyped-def]
    settings.ENGINE_DEVICE = device
    assert ids() == {"separation.E006"}
