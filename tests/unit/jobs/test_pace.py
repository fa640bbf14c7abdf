"""How long a separation will take, after others have been seen."""

import pytest

from separation.models import PaceObservation
from separation.options import SeparationOptions
from separation.services import pace
from separation.services.costs import estimated_seconds, guessed_seconds

pytestmark = pytest.mark.django_db
MINUTES = 5 * 60.0


def options(**asked: object) -> SeparationOptions:
    return SeparationOptions.parse({"model": "starter", **asked}, default_model="starter")


def ran(times: float, **asked: object) -> None:
    """A run that took so many times what the catalogue says."""
    pace.remember(options(**asked), expected=100.0, observed=100.0 * times)


def test_before_any_run_it_takes_what_the_catalogue_says() -> None:
    assert estimated_seconds(options(), MINUTES) == guessed_seconds(options(), MINUTES) > 0


def test_after_runs_at_half_the_speed_it_takes_twice_as_long() -> None:
    ran(2)
    assert estimated_seconds(options(), MINUTES) == pytest.approx(2 * guessed_seconds(options(), MINUTES))


def test_other_models_and_modes_keep_their_own_pace() -> None:
    ran(2)
    for other in (options(model="htdemucs"), options(mode="fast")):
        assert estimated_seconds(other, MINUTES) == guessed_seconds(other, MINUTES)


def test_one_odd_run_changes_nothing() -> None:
    for times in (2, 2, 50, 2):
        ran(times)
    assert pace.factor(options()) == 2


def test_a_machine_that_has_changed_is_believed_after_a_few_runs() -> None:
    for times in (1,) * 20 + (3,) * 5:
        ran(times)
    assert pace.factor(options()) == 3


def test_runs_that_are_mostly_their_start_do_not_count() -> None:
    pace.remember(options(), expected=pace.LEAST_SECONDS - 1, observed=60)
    assert pace.factor(options()) == 1


def test_only_the_runs_that_count_are_kept() -> None:
    for _ in range(pace.RECENT + 3):
        ran(1)
        ran(1, mode="fast")
    assert PaceObservation.objects.count() == 2 * pace.RECENT
