"""The headers of tus 1.0 (https://tus.io/protocols/resumable-upload): read strictly, refused with a `Problem`.

Pure: knows neither the database nor the disk.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from separation.api.problems import Problem

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,creation-defer-length,termination,checksum,expiration"
CHECKSUMS = ("sha1", "sha256")
CONTENT_TYPE = "application/offset+octet-stream"
CHECKSUM_MISMATCH = 460
METADATA_LIMIT = 8192
LARGEST = 2**63 - 1

_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)
_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]+", re.ASCII)


@dataclass(frozen=True)
class Checksum:
    """An algorithm of hashlib and the digest that the bytes must have."""

    algorithm: str
    digest: bytes

    def matches(self, computed: bytes) -> bool:
        return computed == self.digest


@dataclass(frozen=True)
class Creation:
    """What a creation request asks for. `length` is None when it is deferred."""

    length: int | None
    metadata: str = ""
    values: Mapping[str, bytes] = field(default_factory=dict)


def check_version(headers: Mapping[str, str]) -> None:
    """Raises 412 unless the client speaks 1.0.0."""
    if headers.get("Tus-Resumable") != VERSION:
        raise Problem(412, "unsupported_tus_version", headers={"Tus-Version": VERSION})


def check_content_type(headers: Mapping[str, str]) -> None:
    """Raises 415 unless the body is declared as bytes of an upload."""
    if headers.get("Content-Type", "").partition(";")[0].strip().lower() != CONTENT_TYPE:
        raise Problem(415, "unsupported_media_type", f"The bytes of an upload are sent as {CONTENT_TYPE}.")


def number(headers: Mapping[str, str], name: str) -> int | None:
    """A header's value as an integer from 0 to 2^63 - 1; None without the header. Raises 400 for anything else."""
    text = headers.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text) or int(text) > LARGEST:
        raise Problem(400, "invalid_header", f"{name} must be a whole number from 0 to 2^63 - 1.", header=name)
    return int(text)


def body_length(headers: Mapping[str, str], *, required: bool = True) -> int:
    """The announced length of the body. Raises 411 where the body has none, or could be of any length."""
    length = number(headers, "Content-Length") if headers.get("Content-Length") else None
    chunked = "Transfer-Encoding" in headers
    if chunked or (length is None and required):
        raise Problem(411, "length_required")
    return length or 0


def upload_offset(headers: Mapping[str, str]) -> int:
    """Where a PATCH says it goes on."""
    offset = number(headers, "Upload-Offset")
    if offset is None:
        raise Problem(400, "invalid_header", "Upload-Offset is missing.", header="Upload-Offset")
    return offset


def creation(headers: Mapping[str, str]) -> Creation:
    """What a POST asks to create. Raises 400 for a length that is missing, bad, or both given and deferred."""
    length, deferred = number(headers, "Upload-Length"), headers.get("Upload-Defer-Length")
    if deferred not in (None, "1"):
        raise Problem(400, "invalid_header", "Upload-Defer-Length can only be 1.", header="Upload-Defer-Length")
    if (length is None) == (deferred is None):
        detail = "Send either Upload-Length or Upload-Defer-Length: 1."
        raise Problem(400, "invalid_header", detail, header="Upload-Length")
    text = headers.get("Upload-Metadata", "").strip()
    return Creation(length, text, metadata(text))


def metadata(text: str) -> dict[str, bytes]:
    """`key base64,key base64,key` as a mapping. An empty header has no pairs. Raises 400 when malformed."""
    if len(text) > METADATA_LIMIT:
        raise Problem(400, "invalid_metadata", f"Upload-Metadata may have at most {METADATA_LIMIT} characters.")
    values: dict[str, bytes] = {}
    for pair in text.split(",") if text else ():
        key, _, encoded = pair.strip().partition(" ")
        if not _KEY.fullmatch(key) or key in values:
            raise Problem(400, "invalid_metadata")
        values[key] = _decoded(encoded.strip(), "invalid_metadata")
    return values


def text_value(values: Mapping[str, bytes], *names: str) -> str:
    """The first of these metadata values that is there, as text; "" without. Raises 400 unless it is UTF-8."""
    for name in names:
        if name in values:
            try:
                return values[name].decode("utf-8")
            except UnicodeDecodeError as error:
                raise Problem(400, "invalid_metadata", f"The value of {name} is not UTF-8.") from error
    return ""


def checksum(headers: Mapping[str, str]) -> Checksum | None:
    """The checksum a body must have, if the client sent one. Raises 400 for a kind the server does not know."""
    text = headers.get("Upload-Checksum")
    if text is None:
        return None
    algorithm, _, encoded = text.strip().partition(" ")
    if algorithm not in CHECKSUMS:
        raise Problem(400, "unsupported_checksum", headers={"Tus-Checksum-Algorithm": ",".join(CHECKSUMS)})
    digest = _decoded(encoded.strip(), "invalid_header")
    if len(digest) != hashlib.new(algorithm).digest_size:
        raise Problem(400, "invalid_header", "The checksum has the wrong length.", header="Upload-Checksum")
    return Checksum(algorithm, digest)


def _decoded(encoded: str, code: str) -> bytes:
    try:
        return base64.b64decode(encoded.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise Problem(400, code, "A value is not valid base64.") from error
