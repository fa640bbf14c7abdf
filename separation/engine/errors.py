"""The engine's one exception, and how the operating system's errors become reasons.

Codes are values of `separation.errors.ReasonCode`. Does not report errors: `progress` does.
"""

from __future__ import annotations

import errno

from separation.errors import SENTENCES, ReasonCode

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class EngineError(Exception):
    """An end with a stated reason. `message` is a sentence for people; it defaults to the reason's own."""

    def __init__(self, code: ReasonCode, message: str = "") -> None:
        self.code = code
        self.message = message or SENTENCES[code]
        super().__init__(self.message)


def from_os_error(error: OSError) -> EngineError:
    """The reason for an error of the operating system that nothing closer to it has explained."""
    if error.errno in FULL:
        return EngineError(ReasonCode.DISK_FULL)
    return EngineError(ReasonCode.STORAGE_FAILED, f"The result could not be written: {error.strerror or error}.")
