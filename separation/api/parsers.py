"""JSON bodies, bounded in size and depth, and made of text that a database can keep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

from django.http import HttpRequest
from rest_framework.parsers import BaseParser

from separation.api.problems import Problem
from separation.uploads.body import read_short

LARGEST_BODY = 1024 * 1024
DEEPEST = 32


class BoundedJSONParser(BaseParser):
    """Like DRF's parser, but it reads at most 1 MiB, and refuses NaN, NUL, lone surrogates and deep nesting."""

    media_type = "application/json"

    def parse(
        self, stream: IO[bytes] | HttpRequest, media_type: str | None = None, parser_context: Mapping | None = None
    ) -> Any:
        data = read_short(stream, LARGEST_BODY)[0] if isinstance(stream, HttpRequest) else stream.read(LARGEST_BODY + 1)
        if len(data) > LARGEST_BODY:
            raise Problem(413, "body_too_large", f"A JSON body may have at most {LARGEST_BODY} bytes.")
        try:
            value = json.loads(data.decode("utf-8"), parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise Problem(400, "malformed_body") from error
        _check(value, DEEPEST)
        return value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check(value: Any, depth: int) -> None:
    if depth == 0:
        raise Problem(400, "malformed_body", f"The body is nested more than {DEEPEST} deep.")
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth - 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            _check_text(name)
            _check(item, depth - 1)


def _check_text(text: str) -> None:
    if "\x00" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise Problem(400, "malformed_body", "Text may hold neither NUL nor half a surrogate pair.")
