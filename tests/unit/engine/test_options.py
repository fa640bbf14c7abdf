"""Options: defaults, presets, and a refusal with a code and a field for all that cannot be honoured."""

import math

import pytest

from separation.options import OptionError, SeparationOptions


def parse(**data):
    return SeparationOptions.parse(data)


def test_no_options_mean_the_balanced_preset_on_all_stems():
    options = parse(model="htdemucs")
    assert options.stems == ("drums", "bass", "other", "vocals")
    assert (options.preset, options.shifts, options.overlap, options.mode) == ("balanced", 1, 0.25, "exact")
    assert (options.format, options.quality) == ("wav", {"bits": 16})


@pytest.mark.parametrize("asked", [{"stems": ["piano", "drums"]}, {"two_stems": "piano"}])
def test_options_survive_a_round_trip_through_json_values(asked):
    options = parse(model="htdemucs_6s", **asked, format="mp3", quality={"bitrate": 192}, seed=9)
    assert SeparationOptions.parse(options.as_dict()) == options


def test_a_preset_sets_what_is_not_said_and_yields_to_what_is():
    options = parse(preset="best", shifts=2)
    assert (options.shifts, options.overlap) == (2, 0.25)


def test_stems_come_in_the_models_order_without_repeats():
    assert parse(stems=["vocals", "drums", "vocals"]).stems == ("drums", "vocals")


def test_two_stems_name_the_stem_and_its_complement():
    assert parse(two_stems="vocals").output_stems == ("vocals", "no_vocals")


@pytest.mark.parametrize(
    ("data", "code", "field"),
    [
        ({"model": "nope"}, "unknown_model", "model"),
        ({"model": ["x"]}, "unknown_model", "model"),
        ({"model": "htdemucs", "stems": ["piano"]}, "unknown_stem", "stems"),
        ({"model": 0}, "unknown_model", "model"),
        ({"model": ""}, "unknown_model", "model"),
        ({"two_stems": "choir"}, "unknown_stem", "two_stems"),
        ({"two_stems": ""}, "unknown_stem", "two_stems"),
        ({"two_stems": False}, "unknown_stem", "two_stems"),
        ({"two_stems": []}, "unknown_stem", "two_stems"),
        ({"two_stems": "vocals", "stems": ["kazoo"]}, "invalid_option", "stems"),
        ({"two_stems": "vocals", "stems": ["vocals", "drums"]}, "invalid_option", "stems"),
        ({"two_stems": "vocals", "stems": []}, "invalid_option", "stems"),
        ({"two_stems": "vocals", "stems": 17}, "invalid_option", "stems"),
        ({"stems": []}, "invalid_option", "stems"),
        ({"stems": "vocals"}, "invalid_option", "stems"),
        ({"shifts": -1}, "invalid_option", "shifts"),
        ({"shifts": 1e9}, "invalid_option", "shifts"),
        ({"shifts": math.nan}, "invalid_option", "shifts"),
        ({"shifts": True}, "invalid_option", "shifts"),
        ({"shifts": 1.5}, "invalid_option", "shifts"),
        ({"overlap": 1}, "invalid_option", "overlap"),
        ({"overlap": "a lot"}, "invalid_option", "overlap"),
        ({"overlap": math.inf}, "invalid_option", "overlap"),
        ({"overlap": 10**400}, "invalid_option", "overlap"),
        ({"segment": 0}, "invalid_option", "segment"),
        ({"model": "htdemucs", "segment": 10}, "segment_too_long", "segment"),
        ({"format": "exe"}, "invalid_option", "format"),
        ({"format": "mp3", "quality": {"bitrate": 1}}, "invalid_option", "quality"),
        ({"format": "mp3", "quality": {"bits": 16}}, "invalid_option", "quality"),
        ({"quality": "best"}, "invalid_option", "quality"),
        ({"clip_mode": "tanh"}, "invalid_option", "clip_mode"),
        ({"mode": "turbo"}, "invalid_option", "mode"),
        ({"preset": "worst"}, "invalid_option", "preset"),
        ({"seed": -1}, "invalid_option", "seed"),
        ({"input": "/etc/passwd"}, "unknown_option", "input"),
    ],
)
def test_an_option_that_cannot_be_honoured_is_refused(data, code, field):
    with pytest.raises(OptionError) as caught:
        SeparationOptions.parse(data)
    assert (caught.value.code, caught.value.field) == (code, field)
    assert caught.value.message


def test_the_refusal_of_a_long_segment_names_the_ceiling():
    with pytest.raises(OptionError, match=r"7\.8 s"):
        parse(model="htdemucs", segment=12)
