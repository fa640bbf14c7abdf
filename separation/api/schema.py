"""The OpenAPI document. Filled in below."""

from typing import Any

from drf_spectacular.openapi import AutoSchema


class ApiSchema(AutoSchema):
    pass


def register() -> None:
    """Extensions that drf-spectacular finds once they are imported."""


def complete(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    return result
