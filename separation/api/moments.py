"""Moments in conditions on `created_at`, compared as the database keeps them.

SQLite keeps text: with three decimals by its own Now(), by Python with six, or with none at a whole second. One moment
has several texts there, so conditions name the first or the last of them in their order.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db import connection
from django.db.models import F, TextField, Value
from django.db.models.functions import Cast


def as_kept(field: str) -> Any:
    """The moment in `field` exactly as the database keeps it: to annotate a row with, for `from_kept`."""
    return Cast(field, TextField()) if _is_text() else F(field)


def from_kept(text: str) -> Any:
    """What `as_kept` gave, in ISO format, to compare the field with. Raises ValueError for no moment."""
    moment = datetime.fromisoformat(text)
    return _text(text) if _is_text() else moment


def before(moment: datetime) -> Any:
    """What the field is less than when it is before `moment`."""
    return _text(_six_decimals(moment).rstrip("0").rstrip(".")) if _is_text() else moment


def after(moment: datetime) -> Any:
    """What the field is greater than when it is after `moment`."""
    return _text(_six_decimals(moment)) if _is_text() else moment


def _is_text() -> bool:
    return connection.vendor == "sqlite"


def _text(text: str) -> Value:
    return Value(text, output_field=TextField())


def _six_decimals(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
