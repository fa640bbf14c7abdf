"""System checks: what would make jobs fail is said at start, with a stable id and what to do about it.

E001 ffmpeg, E002 folders, E003 django-q2, E004 numbers, E005 the default model, E006 the device, E007 switches, E008
the cache, E009 the storage, E010 the names it answers to; W001 weights.
The memory settings have checks of their own (`memory.checks`).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import FileSystemStorage, default_storage, storages

from separation import catalog
from separation.ffmpeg import FfmpegMissing, find_ffmpeg


@dataclass(frozen=True)
class Range:
    """What a numeric setting may be: from `least` to `most`, whole unless said otherwise."""

    least: float
    unit: str = ""
    whole: bool = True
    most: float = math.inf


HOUR = 3600
DAY = 24 * HOUR
CENTURY = 36_500
"""Days. What reaches back past the year 1 is no date."""

RANGES: Mapping[str, Range] = {
    "PORT": Range(1, most=65535),
    "WEB_PROCESSES": Range(1, "processes"),
    "WEB_THREADS": Range(1, "threads"),
    "MAX_UPLOAD_BYTES": Range(1, "bytes"),
    "MAX_DURATION_SECONDS": Range(1, "seconds", whole=False),
    "JOB_TIMEOUT_SECONDS": Range(1, "seconds", whole=False, most=5 * DAY),
    "JOB_LEASE_SECONDS": Range(2, "seconds", whole=False, most=DAY),
    "JOB_STALL_SECONDS": Range(1, "seconds", whole=False, most=5 * DAY),
    "JOB_MAX_ATTEMPTS": Range(1, "attempts"),
    "REAP_INTERVAL_SECONDS": Range(0.1, "seconds", whole=False, most=HOUR),
    "ENGINE_THREADS": Range(0, "threads"),
    "RETENTION_DAYS_TRACKS": Range(0, "days", whole=False, most=CENTURY),
    "RETENTION_DAYS_STEMS": Range(0, "days", whole=False, most=CENTURY),
    "RETENTION_HOURS_UPLOADS": Range(0.1, "hours", whole=False, most=24 * CENTURY),
    "QUOTA_BYTES_PER_USER": Range(0, "bytes"),
    "QUOTA_MINUTES_PER_DAY": Range(0, "minutes", whole=False),
    "QUOTA_QUEUED_JOBS": Range(0, "jobs"),
    "UPLOAD_STALL_SECONDS": Range(0.1, "seconds", whole=False, most=HOUR),
    "REQUEST_HEAD_SECONDS": Range(0.1, "seconds", whole=False, most=HOUR),
    "ANSWER_STALL_SECONDS": Range(0.1, "seconds", whole=False, most=HOUR),
    "UPLOAD_LOCK_WAIT_SECONDS": Range(0, "seconds", whole=False, most=HOUR),
    "UPLOAD_MAX_UNFINISHED": Range(0, "uploads"),
    "UPLOAD_CREATIONS_PER_MINUTE": Range(0, "uploads"),
    "UPLOAD_BYTES_PER_DAY": Range(0, "bytes"),
    "JOB_CREATIONS_PER_MINUTE": Range(0, "jobs"),
    "WEBHOOK_TIMEOUT_SECONDS": Range(0.1, "seconds", whole=False, most=HOUR),
    "WEBHOOK_MAX_ATTEMPTS": Range(1, "attempts"),
}
SWITCHES = ("DEBUG", "HTTPS", "UPLOAD_SYNC", "WEBHOOK_ALLOW_PRIVATE")
DEVICE = re.compile(r"(cpu|cuda|mps)(:\d+)?")
HOST = re.compile(r"\*|\.?[\w-]+(\.[\w-]+)*\.?|\[[0-9A-Fa-f:.]+\]")
CACHE_PACKAGES = {
    "django.core.cache.backends.redis.RedisCache": "redis",
    "django.core.cache.backends.memcached.PyMemcacheCache": "pymemcache",
    "django.core.cache.backends.memcached.PyLibMCCache": "pylibmc",
}
"""What Django imports only when the cache is used."""


@register()
def check_ffmpeg(**_: Any) -> Iterable[CheckMessage]:
    """E001: nothing can be decoded without it."""
    try:
        find_ffmpeg()
    except FfmpegMissing as missing:
        hint = "apt-get install ffmpeg, or pip install imageio-ffmpeg, or name one with STEMSITE_FFMPEG."
        yield Error(str(missing), hint=hint, id="separation.E001")


@register()
def check_folders(**_: Any) -> Iterable[CheckMessage]:
    """E002: a folder that must be written to cannot be."""
    folders = {"STAGING_DIR": Path(settings.STAGING_DIR), "MODEL_DIR": Path(settings.MODEL_DIR)}
    if _keeps_files_here():
        folders["MEDIA_ROOT"] = Path(settings.MEDIA_ROOT)
    for name, folder in folders.items():
        if problem := _not_writable(folder):
            hint = "Give the user that runs Stemsite the right to write there, or choose another DATA_DIR."
            yield Error(f"{name} ({folder}) cannot be used: {problem}.", hint=hint, id="separation.E002")


def _keeps_files_here() -> bool:
    try:
        return isinstance(default_storage, FileSystemStorage)
    except (ImproperlyConfigured, TypeError):  # E009
        return False


def _not_writable(folder: Path) -> str:
    """What is wrong with a folder, or with the nearest one above it that exists."""
    existing = next((parent for parent in (folder, *folder.parents) if parent.exists()), folder)
    if not existing.is_dir():
        return f"{existing} is not a folder"
    return "" if os.access(existing, os.W_OK | os.X_OK) else "it cannot be written to"


@register()
def check_django_q(**_: Any) -> Iterable[CheckMessage]:
    """E003: a setting of django-q2 under which jobs would run twice or not at all."""
    for problem in django_q_problems(settings.Q_CLUSTER, settings.MAX_CONCURRENT_OPERATIONS):
        yield Error(f"Q_CLUSTER: {problem}", hint="See the comments in separation/tasks.py.", id="separation.E003")


def django_q_problems(cluster: Mapping[str, Any], slots: object) -> Iterable[str]:
    """What is wrong with a django-q2 configuration, in sentences."""
    timeout, retry = cluster.get("timeout"), cluster.get("retry")
    if isinstance(timeout, int) and isinstance(retry, int) and timeout + DAY > retry:
        yield "retry must be at least a day longer than timeout; messages would be delivered twice."
    longest = settings.JOB_TIMEOUT_SECONDS
    if isinstance(timeout, int) and isinstance(longest, int | float) and timeout < longest + DAY:
        yield "timeout must be at least a day longer than JOB_TIMEOUT_SECONDS; workers would be killed with their jobs."
    if isinstance(slots, int) and cluster.get("workers", 0) <= slots:
        yield "workers must be more than MAX_CONCURRENT_OPERATIONS; none would be free to answer the watchdog."
    for name, wanted in (("queue_limit", 1), ("bulk", 1), ("max_attempts", 1), ("ack_failures", True)):
        if cluster.get(name) != wanted:
            yield f"{name} must be {wanted!r}."
    if cluster.get("sync"):
        yield "sync must be off; requests would run whole jobs."


@register()
def check_numbers(**_: Any) -> Iterable[CheckMessage]:
    """E004: a setting that is not the number it must be."""
    for name, allowed in RANGES.items():
        if problem := _wrong(getattr(settings, name), allowed):
            yield Error(f"{name} is {getattr(settings, name)!r}; it must be {problem}.", id="separation.E004")


def _wrong(value: object, allowed: Range) -> str:
    kind = int if allowed.whole else (int, float)
    is_number = isinstance(value, kind) and not isinstance(value, bool) and value not in (math.inf, -math.inf)
    if is_number and allowed.least <= value <= allowed.most:  # type: ignore[operator]
        return ""
    what = ("a whole number" if allowed.whole else "a number") + (f" of {allowed.unit}" if allowed.unit else "")
    return f"{what}, at least {allowed.least:g}" + (f", at most {allowed.most:g}" if allowed.most < math.inf else "")


@register()
def check_default_model(**_: Any) -> Iterable[CheckMessage]:
    """E005: the default model is unknown. W001: its weights are not here."""
    name = settings.DEFAULT_MODEL or catalog.default_model(settings.MODEL_DIR)
    if name not in catalog.MODELS:
        known = ", ".join(catalog.MODELS)
        yield Error(f"DEFAULT_MODEL is {name!r}; it must be one of {known}.", id="separation.E005")
    elif not catalog.is_ready(name, settings.MODEL_DIR):
        hint = f"manage.py fetch_model {name}"
        yield Warning(f"The weights of the default model {name} are not here.", hint=hint, id="separation.W001")


@register()
def check_device(**_: Any) -> Iterable[CheckMessage]:
    """E006: a device that torch does not know."""
    name = str(settings.ENGINE_DEVICE)
    if not DEVICE.fullmatch(name):
        wanted = "cpu, cuda or mps, or one of several by its number, such as cuda:1"
        yield Error(f"ENGINE_DEVICE is {name!r}; it must be {wanted}.", id="separation.E006")


@register()
def check_switches(**_: Any) -> Iterable[CheckMessage]:
    """E007: a setting that is neither on nor off."""
    for name in SWITCHES:
        if not isinstance(value := getattr(settings, name), bool):
            yield Error(f"{name} is {value!r}; it must be on or off (or 1 or 0, true or false).", id="separation.E007")


@register()
def check_cache(**_: Any) -> Iterable[CheckMessage]:
    """E008: a cache whose package is not installed would fail each time it is asked."""
    package = CACHE_PACKAGES.get(settings.CACHES["default"]["BACKEND"])
    if package and find_spec(package) is None:
        hint = f"pip install {package}"
        yield Error(
            f"CACHE_URL needs the Python package {package}, which is not here.", hint=hint, id="separation.E008"
        )


@register()
def check_storage(**_: Any) -> Iterable[CheckMessage]:
    """E009: a storage that cannot be made. Its options are not shown: they may hold keys."""
    try:
        storages["default"]
    except (ImproperlyConfigured, TypeError) as error:
        yield Error(f"DEFAULT_STORAGE cannot be used: {error}", id="separation.E009")


@register()
def check_hosts(**_: Any) -> Iterable[CheckMessage]:
    """E010: what no request's host can be."""
    for name in settings.ALLOWED_HOSTS:
        if not HOST.fullmatch(name):
            wanted = "a host without scheme, port or path, such as music.example.org"
            yield Error(f"ALLOWED_HOSTS holds {name!r}; it must be {wanted}.", id="separation.E010")
