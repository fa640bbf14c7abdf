"""What each kind of operation is expected to take before anything was observed, and after."""

import pytest
from django.test import override_settings

from memory.estimates import record_peak
from memory.quantities import MIB
from separation.options import SeparationOptions
from separation.services.costs import operation_bytes

pytestmark = pytest.mark.django_db


def options(**asked: object) -> SeparationOptions:
    return SeparationOptions.parse({"model": "starter", **asked}, default_model="starter")


@pytest.mark.parametrize("kind", ["upload", "download", "zip"])
def test_what_is_streamed_takes_a_few_pieces_whatever_its_length(kind: str) -> None:
    with override_settings(STREAMING_CHUNK_SIZE=1024**2):
        large = operation_bytes(kind)
    with override_settings(STREAMING_CHUNK_SIZE=8192):
        small = operation_bytes(kind)
    assert small < 7 * MIB and large - small == 4 * (MIB - 8192)


def test_a_separation_takes_more_than_its_decoder_and_its_encoders() -> None:
    flac = options(format="flac")
    parts = operation_bytes("decode", flac) + operation_bytes("encode", flac)
    assert 0 < parts < operation_bytes("separate", flac)


def test_encoders_are_counted_by_the_stem_and_a_wav_needs_none() -> None:
    four, two = options(format="mp3"), options(format="mp3", two_stems="vocals")
    assert operation_bytes("encode", four) == 2 * operation_bytes("encode", two) > 0
    assert operation_bytes("encode", options(format="wav")) == 0


def test_a_probe_that_took_more_raises_the_next_estimate() -> None:
    before = operation_bytes("probe")
    record_peak("probe", {}, estimated=before, observed=2 * before)
    assert operation_bytes("probe") > 2 * before
