"""The part of the OpenAPI document about plain views: uploads by tus, stems and zips as files. Data only."""

from __future__ import annotations

from typing import Any

PROBLEM_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}
SECURITY: list[dict[str, list]] = [{"token": []}, {"session": []}]
NUMBER = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
BYTES = {"schema": {"type": "string", "format": "binary"}}


def header(name: str, schema: dict[str, Any], description: str, *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": required, "schema": schema, "description": description}


def problems(*statuses: int) -> dict[str, Any]:
    return {str(status): {"description": "a problem", "content": PROBLEM_CONTENT} for status in statuses}


def answer(description: str, **headers: str) -> dict[str, Any]:
    named = {
        name.replace("_", "-"): {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
    }
    return {"description": description, "headers": named}


VERSION = header("Tus-Resumable", {"type": "string", "enum": ["1.0.0"]}, "the protocol's version", required=True)
OFFSET = header("Upload-Offset", NUMBER, "where this piece begins", required=True)
LENGTH = header("Upload-Length", NUMBER, "length of the whole file in bytes")
CHECKSUM = header("Upload-Checksum", {"type": "string"}, "`sha1` or `sha256` and the digest of this piece in base64")
METADATA = header(
    "Upload-Metadata", {"type": "string"}, "pairs of key and base64: `filename`, and `sha256` of the whole file (hex)"
)
KEY = header(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    "a creation sent again under the same key within a day gives the same upload; go on from its `Upload-Offset`",
)
DEFER = header("Upload-Defer-Length", {"type": "string", "enum": ["1"]}, "the length is told later")
UPLOAD: dict[str, Any] = {
    "type": "object",
    "required": ["id", "state", "filename", "length", "offset", "track", "problem", "created_at", "expires_at"],
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "state": {"type": "string", "enum": ["receiving", "finished", "rejected", "terminated", "expired"]},
        "filename": {"type": "string"},
        "length": {"type": ["integer", "null"]},
        "offset": {"type": "integer"},
        "track": {"type": ["string", "null"], "format": "uuid"},
        "problem": {"type": ["object", "null"]},
        "created_at": {"type": "string", "format": "date-time"},
        "expires_at": {"type": "string", "format": "date-time"},
    },
}


def operation(name: str, summary: str, tag: str, **more: Any) -> dict[str, Any]:
    return {"operationId": name, "summary": summary, "tags": [tag], "security": SECURITY, **more}


UPLOADS = {
    "options": operation(
        "describe_uploads",
        "What the server can do (tus)",
        "uploads",
        security=[{}],
        responses={"204": answer("in the headers", Tus_Version="", Tus_Extension="", Tus_Max_Size="")},
    ),
    "post": operation(
        "create_upload",
        "Create an upload (tus 1.0, creation)",
        "uploads",
        parameters=[VERSION, LENGTH, DEFER, METADATA, CHECKSUM, KEY],
        requestBody={"required": False, "content": {"application/offset+octet-stream": BYTES}},
        responses={
            "201": answer("created", Location="where to PATCH", Upload_Offset="", Upload_Expires=""),
            **problems(400, 401, 403, 405, 408, 409, 410, 411, 412, 413, 415, 422, 429, 460, 503, 507),
        },
    ),
}
UPLOAD_PATH = {
    "get": operation(
        "get_upload",
        "How far an upload is, and which track it became",
        "uploads",
        parameters=[ID],
        responses={
            "200": {"description": "the upload", "content": {"application/json": {"schema": UPLOAD}}},
            **problems(401, 403, 404, 405, 410, 503),
        },
    ),
    "head": operation(
        "resume_upload",
        "Where to go on (tus)",
        "uploads",
        parameters=[ID, VERSION],
        responses={
            "200": answer("in the headers", Upload_Offset="", Upload_Length="", Stemsite_Track="once it is finished"),
            **{status: answer("a problem") for status in ("401", "403", "404", "410", "412", "503")},
        },
    ),
    "patch": operation(
        "append_to_upload",
        "Send the next piece (tus)",
        "uploads",
        parameters=[ID, VERSION, OFFSET, LENGTH, CHECKSUM],
        requestBody={"required": True, "content": {"application/offset+octet-stream": BYTES}},
        responses={
            "204": answer("kept", Upload_Offset="", Stemsite_Track="with the last piece"),
            **problems(400, 401, 403, 404, 405, 408, 409, 410, 411, 412, 413, 415, 422, 423, 429, 460, 503, 507),
        },
    ),
    "delete": operation(
        "terminate_upload",
        "End an upload and delete its bytes (tus); a track made of it stays",
        "uploads",
        parameters=[ID, VERSION],
        responses={"204": answer("gone"), **problems(401, 403, 404, 405, 410, 412, 423, 503)},
    ),
}


def file_path(name: str, summary: str, media_type: str, *more_problems: int) -> dict[str, Any]:
    """GET of a file in storage, with ranges."""
    whole = {"description": "the file", "content": {media_type: BYTES}}
    part = {"description": "the range that was asked for", "content": {media_type: BYTES}}
    parameters = [
        ID,
        header("Range", {"type": "string"}, "`bytes=…`; pieces that touch are joined, others give the whole file"),
        header("If-Range", {"type": "string"}, "ETag or date of the file that the range is to be of"),
        {
            "name": "signature",
            "in": "query",
            "schema": {"type": "string"},
            "description": "of a signed link; opens the file without an account",
        },
    ]
    responses = {"200": whole, "206": part, "304": answer("unchanged"), **problems(401, 403, 404, 405, 412, 416, 503)}
    responses |= problems(*more_problems)
    security = [*SECURITY, {}]
    return {
        "get": operation(name, summary, "stems", parameters=parameters, responses=responses, security=security),
    }


EXTRA_PATHS: dict[str, Any] = {
    "/api/v1/uploads/": UPLOADS,
    "/api/v1/uploads/{id}/": UPLOAD_PATH,
    "/api/v1/stems/{id}/audio": file_path("download_stem", "Download a stem", "audio/*"),
    "/api/v1/jobs/{id}/stems.zip": file_path("download_stems", "Download all stems as a zip", "application/zip", 409),
}
