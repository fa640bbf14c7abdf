"""File names that people give: cleaned for keeping and showing. They are data and never part of a path."""

import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

LONGEST = 255
LONGEST_EXTENSION = 20
NAMELESS = "track"
# Cc: control characters, among them NUL, CR and LF. Cf: invisible formatting, among them the bidirectional
# overrides that make `exe.gnp` read as `png.exe`. Cs: halves of surrogate pairs, which no encoding can write.
DROPPED = frozenset({"Cc", "Cf", "Cs"})


def clean_name(name: str) -> str:
    """The last component of `name` without invisible characters, at most 255 characters, never empty.

    >>> clean_name("../../etc/pass\\x00wd")
    'passwd'
    """
    last = PureWindowsPath(name).name if "\\" in name else PurePosixPath(name).name
    visible = "".join(c for c in unicodedata.normalize("NFC", last) if unicodedata.category(c) not in DROPPED)
    name = _shortened(visible.strip())
    return NAMELESS if name in ("", ".", "..") else name


def printable(text: str) -> str:
    """`text` as any database can keep it: no NUL, no halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _shortened(name: str) -> str:
    if len(name) <= LONGEST:
        return name
    suffix = PurePosixPath(name).suffix
    suffix = suffix if len(suffix) <= LONGEST_EXTENSION else ""
    return name[: LONGEST - len(suffix)] + suffix
