"""Download links that work without an account until they expire: a signature over one path and one moment."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from django.core import signing
from django.http import HttpRequest

from separation.api.problems import Problem

PARAMETER = "signature"
DEFAULT_SECONDS = 3600
LONGEST_SECONDS = 7 * 24 * 3600
SALT = "stemsite.api.link"


def signed(path: str, seconds: int) -> tuple[str, datetime]:
    """`path` with a signature that opens it for `seconds`, and when that ends."""
    expires = int(time.time()) + seconds
    return f"{path}?{PARAMETER}={signing.dumps([path, expires], salt=SALT)}", datetime.fromtimestamp(expires, UTC)


def is_signed(request: HttpRequest) -> bool:
    """Whether the request carries a signature, which must be good. Raises 403 for one that is not."""
    text = request.GET.get(PARAMETER)
    if text is None:
        return False
    try:
        path, expires = signing.loads(text, salt=SALT)
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise Problem(403, "link_invalid") from error
    if path != request.path or expires < time.time():
        raise Problem(403, "link_invalid")
    return True
