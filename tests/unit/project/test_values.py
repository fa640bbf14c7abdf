"""Reading the environment: what counts as a value, and what is said of one that is wrong."""

import warnings

import pytest
from django.core.exceptions import ImproperlyConfigured

from stemsite import values

NONE: dict[str, object] = {"ENGINE": "", "BACKEND": ""}


@pytest.mark.parametrize(
    ("raw", "means"),
    [
        ("1", True),
        ("TRUE", True),
        (" on ", True),
        ("yes", True),
        ("0", False),
        ("False", False),
        ("off", False),
        ("no", False),
        ("", "the default"),
        ("enabled", "enabled"),
        ("2", "2"),
    ],
)
def test_a_switch_is_on_or_off_and_anything_else_is_kept(
    raw: str, means: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAME", raw)
    assert values.switch("NAME", "the default") == means  # type: ignore[arg-type]


def test_names_have_no_space_around_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "music.example.org, localhost,")
    assert values.names("NAME", []) == ["music.example.org", "localhost"]


def test_a_log_level_may_be_in_small_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "debug")
    assert values.log_level("NAME", "INFO") == "DEBUG"


def test_an_unknown_log_level_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "nonsense")
    with pytest.raises(ImproperlyConfigured, match=r"^NAME is 'NONSENSE'; it must be DEBUG, "):
        values.log_level("NAME", "INFO")


@pytest.mark.parametrize("read", [values.database, values.cache, values.storage])
def test_what_is_not_set_is_the_default(read: object) -> None:
    assert read("NAME", NONE) is NONE  # type: ignore[operator]


@pytest.mark.parametrize(
    ("read", "raw"),
    [
        (values.database, "foo"),
        (values.database, "nosuch://ada:hush@db/stemsite"),
        (values.database, "postgres://ada:hush/hour@db/stemsite"),
        (values.cache, "foo"),
        (values.cache, "hush://cache"),
        (values.storage, "hush"),
        (values.storage, '"hush"'),
        (values.storage, '{"OPTIONS": {"secret_key": "hush"}}'),
    ],
)
def test_what_cannot_be_read_is_named_with_an_example_and_not_repeated(
    read: object, raw: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAME", raw)
    with warnings.catch_warnings(action="error"), pytest.raises(ImproperlyConfigured) as refused:
        read("NAME", NONE)  # type: ignore[operator]
    assert str(refused.value).startswith("NAME cannot be read; it must be like ")
    assert "hush" not in str(refused.value)
    assert refused.value.__suppress_context__


def test_a_database_is_read_from_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "postgres://ada:a%23b@db:5433/stemsite")
    read = values.database("NAME", {})
    assert (read["ENGINE"], read["PASSWORD"], read["HOST"], read["PORT"]) == (
        "django.db.backends.postgresql",
        "a#b",
        "db",
        5433,
    )


def test_a_database_may_be_of_a_module_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "my.own.backend://ada@db/stemsite")
    assert values.database("NAME", {})["ENGINE"] == "my.own.backend"
