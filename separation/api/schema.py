"""The OpenAPI document: what drf-spectacular reads off the views, completed with what it cannot know.

Owns the credentials, the problem answers of each operation and the examples. The addresses outside REST
framework (tus, files) are described in `schema_paths`.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema

from separation.api.problems import MEDIA_TYPE
from separation.api.schema_paths import EXTRA_PATHS, SECURITY

PROBLEM = {"$ref": "#/components/schemas/Problem"}
PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "An RFC 9457 problem document. Further members depend on the code.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "leads to what the code means"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "a sentence for people"},
        "code": {"type": "string", "description": "stable; for programs"},
        "field": {"type": "string", "description": "the part of the body at fault"},
        "limit_name": {"type": "string", "description": "as in /api/v1/limits/"},
        "limit": {"type": "number"},
        "used": {"type": "number"},
    },
    "examples": [
        {
            "type": "/api/problems/unknown_stem/",
            "title": "Unprocessable Entity",
            "status": 422,
            "detail": "starter has no stem “kazoo”; it has drums, bass, other, vocals.",
            "code": "unknown_stem",
            "field": "stems",
        }
    ],
}
MEANINGS = {
    "400": "malformed",
    "401": "not signed in",
    "403": "not allowed with these credentials",
    "404": "not there, or not yours",
    "405": "not a method of this address",
    "406": "not available in an accepted media type",
    "408": "hardly anything arrived for a while",
    "409": "not possible in the present state",
    "411": "a length is required",
    "413": "too large, or beyond a quota",
    "415": "not a media type taken here",
    "422": "understood, and refused",
    "429": "too much at once; see Retry-After",
    "503": "too busy; see Retry-After",
    "507": "the server's disk is full",
}
EVERYWHERE = ("401", "403", "405", "406", "503")
CONFLICTS = {"cancel_job", "retry_job", "create_job", "create_jobs", "create_track", "create_token", "create_webhook"}
TRACK_ID = "6f1f4f9a-4f5e-4a52-9a57-3a7f4f5b8c11"
EXAMPLES: dict[str, dict[str, Any]] = {
    "create_job": {"track": TRACK_ID, "model": "htdemucs", "stems": ["vocals", "drums"], "format": "flac"},
    "create_jobs": {"jobs": [{"track": TRACK_ID, "two_stems": "vocals", "format": "mp3", "quality": {"bitrate": 320}}]},
    "estimate": {"track": TRACK_ID, "model": "htdemucs", "preset": "best"},
    "create_webhook": {"url": "https://example.com/hooks/stemsite"},
    "create_token": {"name": "laptop", "scopes": ["read", "submit"], "expires_at": "2030-01-01T00:00:00Z"},
    "link_stem": {"expires_in": 3600},
    "link_stems_zip": {"expires_in": 3600},
}


class CallerScheme(OpenApiAuthenticationExtension):
    """A bearer token, or the session of a browser."""

    target_class = "separation.api.base.CallerAuthentication"
    name = ["token", "session"]

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[Any]]]:
        """One or the other; a single object with both names would ask for both."""
        return deepcopy(SECURITY)

    def get_security_definition(self, auto_schema: AutoSchema) -> list[dict[str, Any]]:
        return [
            {"type": "http", "scheme": "bearer", "description": "a token from your account page or `create_token`"},
            {
                "type": "apiKey",
                "in": "cookie",
                "name": "sessionid",
                "description": "a signed-in browser; anything but GET and HEAD also needs X-CSRFToken",
            },
        ]


def complete(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """drf-spectacular's hook: adds problems, examples and the other addresses to the document."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = PROBLEM_SCHEMA
    for schema in components["schemas"].values():
        _close(schema)
    for path, item in result["paths"].items():
        for method, operation in item.items():
            _complete_operation(path, method, operation)
    result["paths"] = dict(sorted({**result["paths"], **deepcopy(EXTRA_PATHS)}.items()))
    return result


def _close(schema: dict[str, Any]) -> None:
    """Request bodies have no further members: what is not understood is refused, not ignored."""
    if schema.get("type") == "object" and "properties" in schema and schema is not PROBLEM_SCHEMA:
        schema.setdefault("additionalProperties", False)


def _complete_operation(path: str, method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    for status in _problems_of(path, method, operation):
        responses.setdefault(status, problem_answer(status))
    body = operation.get("requestBody")
    example = EXAMPLES.get(operation["operationId"])
    if body and example and "application/json" in body["content"]:
        body["content"]["application/json"].setdefault("examples", {"example": {"value": example}})


def _problems_of(path: str, method: str, operation: dict[str, Any]) -> list[str]:
    statuses = set(EVERYWHERE) | {"400"}
    if method != "get":
        statuses.add("411")
    if method == "delete":
        statuses.add("409")
    if "{" in path:
        statuses.add("404")
    if operation["operationId"] in CONFLICTS:
        statuses |= {"409", "429"}
    if "requestBody" in operation:
        statuses |= {"413", "415", "422"}
    if operation["operationId"] == "create_track":
        statuses |= {"408", "507"}
    if operation["operationId"] == "retry_job":
        statuses.add("422")
    return sorted(statuses)


def problem_answer(status: str) -> dict[str, Any]:
    """A response that is a problem document."""
    return {"description": MEANINGS[status], "content": {MEDIA_TYPE: {"schema": PROBLEM}}}


def register() -> None:
    """Importing this module is what registers the extension; called when the app is ready."""
