"""What schemathesis must be told: how the bytes of an upload are sent."""

import schemathesis


@schemathesis.serializer("application/offset+octet-stream")
def raw_bytes(ctx, value):  # type: ignore[no-untyped-def]
    """As they are."""
    data = value if isinstance(value, bytes) else str(value).encode()
    return {"data": data}
