"""A wrong setting is an error with an id, never a silent default."""

import math

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from memory.checks import check_settings
from memory.conf import MIB, NUMBERS, memory_settings


def ids() -> list[str | None]:
    return [message.id for message in check_settings()]


def test_the_defaults_are_right() -> None:
    assert ids() == []


def test_the_checks_run_with_djangos() -> None:
    assert not [message for message in run_checks() if str(message.id).startswith("memory.")]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["many", "", -1, None, True, float("nan")])
def test_a_value_that_is_no_such_number_is_an_error_of_its_own(settings: Settings, name: str, value: object) -> None:
    setattr(settings, name, value)
    assert ids() == [f"memory.{NUMBERS[name].check}"]


@pytest.mark.parametrize("name", [name for name, number in NUMBERS.items() if number.maximum < math.inf])
def test_a_value_past_the_largest_is_an_error_that_says_which_that_is(settings: Settings, name: str) -> None:
    setattr(settings, name, int(NUMBERS[name].maximum) + 1)
    assert ids() == [f"memory.{NUMBERS[name].check}"]
    assert check_settings()[0].msg.endswith(f", at most {NUMBERS[name].maximum:g}.")


@pytest.mark.parametrize("name", NUMBERS)
def test_a_wrong_value_is_never_used(settings: Settings, name: str) -> None:
    setattr(settings, name, "many")
    with pytest.raises(ImproperlyConfigured, match=f"{name} is 'many'"):
        memory_settings()


def test_the_message_says_what_is_wrong_and_what_to_do(settings: Settings) -> None:
    settings.MAX_CONCURRENT_OPERATIONS = 0
    message = check_settings()[0]
    assert message.msg == "MAX_CONCURRENT_OPERATIONS is 0; it must be a whole number of operations, at least 1."
    assert message.hint == "Set MAX_CONCURRENT_OPERATIONS in the environment, or leave it out for 3."


def test_a_warning_threshold_that_is_not_below_the_limit_is_an_error(settings: Settings) -> None:
    settings.MEMORY_LIMIT_MB = settings.MEMORY_WARNING_THRESHOLD_MB = 1000
    assert ids() == ["memory.E011"]


def test_a_budget_below_one_operations_limit_is_a_warning(settings: Settings) -> None:
    settings.MEMORY_BUDGET_MB = 1000
    assert ids() == ["memory.W001"]


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", "..", ".", "a\0", "h" * 256, "ü" * 128, None])
def test_a_host_name_that_cannot_name_a_folder_is_an_error(settings: Settings, name: object) -> None:
    settings.HOST_NAME = name
    assert ids() == ["memory.E012"]


def test_sizes_are_given_in_bytes_and_times_in_seconds(settings: Settings) -> None:
    settings.PROCESS_MEMORY_LIMIT_MB = 300
    settings.PROCESS_POLL_INTERVAL_MS = 250
    now = memory_settings()
    assert (now.process_memory_limit, now.process_poll_interval) == (300 * MIB, 0.25)


def test_a_budget_of_nothing_means_it_is_worked_out(settings: Settings) -> None:
    settings.MEMORY_BUDGET_MB = 0
    assert memory_settings().memory_budget is None


def test_a_project_that_sets_nothing_gets_the_defaults(settings: Settings) -> None:
    for name in NUMBERS:
        delattr(settings, name) if hasattr(settings, name) else None
    assert memory_settings().max_concurrent_operations == 3
