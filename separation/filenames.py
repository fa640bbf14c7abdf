"""Names of files that leave the service: never longer than a file system takes.

Owns their length. Names that come in are `services.names`'s, what a zip's member may be called is `zips`'s.
"""

LONGEST_FILE = 240
"""Bytes of a name: file systems take 255, and programs append ` (2)` or `.part`."""


def with_ending(name: str, ending: str) -> str:
    """`name` and `ending` in at most `LONGEST_FILE` bytes: it is the name that is cut.

    >>> with_ending("あ" * 100, " - bass.wav") == "あ" * 76 + " - bass.wav"
    True
    """
    return cut(name, LONGEST_FILE - len(ending.encode())) + ending


def cut(text: str, most: int) -> str:
    """The beginning of `text`: at most `most` bytes of UTF-8, whole characters; no space at the end of a cut one."""
    encoded = text.encode()
    return text if len(encoded) <= most else encoded[:most].decode(errors="ignore").rstrip()
