"""Log lines: one event a line, `key=value` pairs after the message.

Pass context as `logger.info("claimed", extra={"job": job.id, "attempt": 2})`; the names in `FIELDS` are printed.
"""

import logging
import time

from stemsite.middleware import PROBES

FIELDS = (
    "host",
    "job",
    "attempt",
    "upload",
    "track",
    "user",
    "operation",
    "bytes",
    "needs",
    "limit",
    "reason",
    "seconds",
)


class WithoutProbes(logging.Filter):
    """Leaves out requests of probes: whoever asked has the answer, and asks again every few seconds."""

    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(getattr(record, "request", None), "path", None) not in PROBES


class LineFormatter(logging.Formatter):
    """`2026-01-31T12:00:00Z INFO separation.services: claimed job=… attempt=2`"""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%SZ"
    default_msec_format = None

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        pairs = (f"{name}={value}" for name in FIELDS if (value := getattr(record, name, None)) is not None)
        return " ".join((super().formatMessage(record), *pairs))
