"""Estimates learn from recorded peaks."""

import pytest

from memory.conf import MIB
from memory.estimates import calibrate, estimate, feature_key, record_peak
from memory.models import PeakObservation

FEATURES = {"model": "starter", "shifts": 1}


def test_with_nothing_observed_the_default_stands() -> None:
    assert calibrate([], 500 * MIB) == 500 * MIB


def test_a_peak_over_the_estimate_raises_the_next_with_a_margin() -> None:
    assert calibrate([1000 * MIB], 500 * MIB) == 1150 * MIB


def test_few_low_peaks_do_not_lower_the_estimate() -> None:
    assert calibrate([100 * MIB] * 2, 500 * MIB) == 500 * MIB


def test_enough_low_peaks_lower_the_estimate_to_the_highest_and_a_margin() -> None:
    assert calibrate([100 * MIB, 200 * MIB, 150 * MIB], 500 * MIB) == 230 * MIB


@pytest.mark.django_db
def test_an_estimate_that_proved_low_raises_the_next() -> None:
    first = estimate("separate", FEATURES, default_bytes=300 * MIB)
    record_peak("separate", FEATURES, estimated=first, observed=400 * MIB)
    assert estimate("separate", FEATURES, default_bytes=300 * MIB) == 460 * MIB
    assert PeakObservation.objects.get().was_low


@pytest.mark.django_db
def test_other_kinds_and_features_are_left_alone() -> None:
    record_peak("separate", FEATURES, estimated=1, observed=400 * MIB)
    assert estimate("probe", FEATURES, default_bytes=7) == 7
    assert estimate("separate", {**FEATURES, "shifts": 2}, default_bytes=7) == 7


@pytest.mark.django_db
def test_only_recent_peaks_count() -> None:
    record_peak("separate", FEATURES, estimated=1, observed=900 * MIB)
    for _ in range(20):
        record_peak("separate", FEATURES, estimated=1, observed=100 * MIB)
    assert estimate("separate", FEATURES, default_bytes=1) == 115 * MIB


@pytest.mark.django_db
def test_an_operation_that_was_never_seen_teaches_nothing() -> None:
    record_peak("separate", FEATURES, estimated=1, observed=0)
    assert not PeakObservation.objects.exists()


def test_features_make_one_key_whatever_their_order() -> None:
    assert feature_key({"shifts": 1, "model": "x"}) == feature_key({"model": "x", "shifts": 1}) == "model=x shifts=1"


@pytest.mark.parametrize(
    ("minutes", "key"), [(2.1, "m<=4"), (4.0, "m<=4"), (4.1, "m<=8"), (0.3, "m<=0.5"), (0.0, "m<=0")]
)
def test_measures_fall_together_up_to_a_power_of_two(minutes: float, key: str) -> None:
    assert feature_key({"m": minutes}) == key


def test_large_whole_numbers_are_measures_too() -> None:
    assert feature_key({"bytes": 5_000_000}) == feature_key({"bytes": 8_000_000})
