"""Byte quantities as people read them."""

import pytest

from memory.quantities import GIB, KIB, MIB, format_bytes


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (KIB, "1 KB"),
        (640 * MIB, "640 MB"),
        (1023 * MIB + 700 * KIB, "1.0 GB"),
        (GIB, "1.0 GB"),
        (GIB + GIB // 2, "1.5 GB"),
        (2000 * GIB, "2000.0 GB"),
        (-640 * MIB, "-640 MB"),
    ],
)
def test_a_size_is_written_with_its_fitting_unit(size: int, words: str) -> None:
    assert format_bytes(size) == words
