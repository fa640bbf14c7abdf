"""System checks: every setting of this app is right, or the service says at start what is not.

Ids: memory.E001 to E010 one per number (see `conf.NUMBERS`), E011 warning not below limit, E012 host name,
W001 the budget is smaller than one operation's limit.
"""

import os
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from memory.conf import NUMBERS, raw_value


@register(Tags.compatibility)
def check_settings(**_arguments: Any) -> list[CheckMessage]:
    """Each number alone; if all are right, how they stand to each other."""
    problems = [*_numbers(), *_host_name()]
    return problems or [*_thresholds(), *_budget()]


def _numbers() -> Iterator[CheckMessage]:
    for name, number in NUMBERS.items():
        if problem := number.problem(raw_value(name)):
            hint = f"Set {name} in the environment, or leave it out for {number.default:g}."
            yield Error(problem, hint=hint, id=f"memory.{number.check}")


def _host_name() -> Iterator[CheckMessage]:
    name = getattr(settings, "HOST_NAME", "host")
    if not isinstance(name, str) or len(os.fsencode(name)) > 255 or name in (".", "..") or set(name) & set("/\0"):
        yield Error(
            "HOST_NAME must be text of at most 255 bytes that can name a folder, so without “/”.",
            id="memory.E012",
        )


def _thresholds() -> Iterator[CheckMessage]:
    warning, limit = _megabytes("MEMORY_WARNING_THRESHOLD_MB"), _megabytes("MEMORY_LIMIT_MB")
    if warning >= limit:
        yield Error(
            f"MEMORY_WARNING_THRESHOLD_MB ({warning}) is not below MEMORY_LIMIT_MB ({limit}).",
            hint="The warning comes before the limit; three quarters of it is a good start.",
            id="memory.E011",
        )


def _budget() -> Iterator[CheckMessage]:
    budget, one = _megabytes("MEMORY_BUDGET_MB"), _megabytes("PROCESS_MEMORY_LIMIT_MB")
    if 0 < budget < one:
        yield Warning(
            f"MEMORY_BUDGET_MB ({budget}) is less than PROCESS_MEMORY_LIMIT_MB ({one}).",
            hint="Operations that need more than the budget are refused, whatever their own limit allows.",
            id="memory.W001",
        )


def _megabytes(name: str) -> int:
    value = raw_value(name)
    assert isinstance(value, int)  # checked before
    return value
