"""What the environment says, as values for the settings.

Owns reading. A value that is wrong is kept as it stands where a setting may hold it, for the system checks to report
all of them together; where Django could not even start with it, ImproperlyConfigured names the variable and shows an
example, and does not repeat an address: there may be a password in it.
"""

import json
import logging
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

env = environ.Env()
YES = frozenset({"1", "true", "yes", "on", "y", "ok"})
NO = frozenset({"0", "false", "no", "off", "n"})


def text(name: str, default: str = "") -> str:
    """The variable without space around it; the default if nothing is left."""
    return env.str(name, default="").strip() or default


def names(name: str, default: list[str]) -> list[str]:
    """The variable's parts between commas."""
    return [part for part in map(str.strip, text(name).split(",")) if part] or default


def number(name: str, default: int | float) -> int | float | str:
    """The variable as a number; a value that is none is kept. The checks say too which numbers must be whole."""
    raw = text(name)
    if not raw:
        return default
    for kind in (int, float):
        with suppress(ValueError):
            return kind(raw)
    return raw


def switch(name: str, default: bool) -> bool | str:
    """The variable as on or off; a value that is neither is kept."""
    raw = text(name)
    if not raw:
        return default
    word = raw.lower()
    return True if word in YES else False if word in NO else raw


def log_level(name: str, default: str) -> str:
    """A level that Python's logging knows, in capitals or not. Raises ImproperlyConfigured."""
    level = text(name, default).upper()
    if level not in logging.getLevelNamesMapping():
        raise ImproperlyConfigured(f"{name} is {level!r}; it must be DEBUG, INFO, WARNING, ERROR or CRITICAL.")
    return level


def database(name: str, default: dict[str, Any]) -> dict[str, Any]:
    """A database by its URL. Raises ImproperlyConfigured."""
    return _parsed(name, default, _database, "postgres://user:password@db/stemsite (%2F for a slash in the password)")


def cache(name: str, default: dict[str, Any]) -> dict[str, Any]:
    """A cache by its URL. Raises ImproperlyConfigured."""
    return _parsed(name, default, env.cache_url_config, "redis://cache:6379/1")


def storage(name: str, default: dict[str, Any]) -> dict[str, Any]:
    """One of Django's STORAGES, as JSON. Raises ImproperlyConfigured."""
    example = '{"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": {"bucket_name": "stems"}}'
    return _parsed(name, default, _storage, example)


def _parsed(name: str, default: dict[str, Any], parse: Callable[[str], dict[str, Any]], example: str) -> dict[str, Any]:
    if not (raw := text(name)):
        return default
    try:
        with warnings.catch_warnings(action="ignore"):  # they show the password
            return parse(raw)
    except (ValueError, ImproperlyConfigured):
        raise ImproperlyConfigured(f"{name} cannot be read; it must be like {example}.") from None


def _database(url: str) -> dict[str, Any]:
    chosen: dict[str, Any] = env.db_url_config(url)
    if "." not in chosen.get("ENGINE", ""):  # a scheme that is none of environ's is taken for a module's path
        raise ValueError
    return chosen


def _storage(raw: str) -> dict[str, Any]:
    chosen = json.loads(raw)
    if not isinstance(chosen, dict) or not isinstance(chosen.get("BACKEND"), str):
        raise ValueError
    return chosen
