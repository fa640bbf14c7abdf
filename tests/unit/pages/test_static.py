"""What the pages are made of: vendored files as published, colours that can be read, words for numbers."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from separation.templatetags import pages

STATIC = Path(__file__).resolve().parents[3] / "static"
VENDOR = STATIC / "vendor"
CSS = (STATIC / "css" / "stemsite.css").read_text()
LIGHT, DARK = CSS.split("@media (prefers-color-scheme: dark)", 1)
AA_TEXT, AA_PARTS = 4.5, 3.0


def test_every_vendored_file_is_the_one_in_the_manifest() -> None:
    packages = json.loads((VENDOR / "manifest.json").read_text())["packages"]
    listed = {name: digest for package in packages for name, digest in package["files"].items()}
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.iterdir()
        if path.name != "manifest.json"
    }
    assert found == listed


def tokens(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-fA-F]{6});", block))


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


TEXT = [
    *((text, ground) for text in ("ink", "soft") for ground in ("paper", "sheet", "sunk")),
    *((f"{name}", f"{name}-tint") for name in ("good", "bad", "busy")),
    ("bad", "sheet"),
    ("bad", "paper"),
    ("on-act", "act"),
    ("on-act", "act-hover"),
    ("on-bad", "bad"),
]
PARTS = [
    *((name, "sheet") for name in ("edge", "focus", "signal", "vocals", "bass", "other", "guitar", "piano")),
    ("focus", "paper"),
]


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), TEXT)
def test_text_can_be_read(scheme: str, text: str, ground: str) -> None:
    colours = tokens(scheme)
    assert contrast(colours[text], colours[ground]) >= AA_TEXT


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("part", "ground"), PARTS)
def test_controls_can_be_told_from_their_ground(scheme: str, part: str, ground: str) -> None:
    colours = tokens(scheme)
    assert contrast(colours[part], colours[ground]) >= AA_PARTS


@pytest.mark.parametrize(
    ("seconds", "words"), [(None, "–"), (0, "0:00"), (65.6, "1:05"), (3600.6, "1:00:00"), (36000, "10:00:00")]
)
def test_times_are_written_as_clocks(seconds: float | None, words: str) -> None:
    assert pages.clock(seconds) == words


@pytest.mark.parametrize(("fraction", "words"), [(0.999, 99), (1.0, 100), (None, 0), (-1, 0)])
def test_a_hundred_percent_means_done(fraction: float | None, words: int) -> None:
    assert pages.percent(fraction) == words


@pytest.mark.parametrize(("codec", "label"), [("pcm_s16le", "PCM"), ("flac", "flac"), ("", "")])
def test_uncompressed_sound_has_one_name(codec: str, label: str) -> None:
    assert pages.codec_label(codec) == label


def test_options_are_described_in_one_line() -> None:
    options = {"preset": "best", "two_stems": "vocals", "format": "mp3", "quality": {"bitrate": 320}}
    assert pages.describe_options(options) == "best · vocals and the rest · MP3 320 kbit/s"


@pytest.mark.parametrize("options", [{}, {"format": "gone", "quality": None}, {"format": "wav", "quality": {"x": 1}}])
def test_options_of_another_time_do_not_break_the_page(options: dict[str, object]) -> None:
    assert isinstance(pages.describe_options(options), str)
