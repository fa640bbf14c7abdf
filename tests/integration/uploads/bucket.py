"""A bucket: as much of S3's protocol over HTTP as boto3 uses for one, in a thread of this process.

Objects are kept in memory. It remembers what was asked of it, and can refuse everything.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass
class Bucket:
    """What is in it, and what was asked of it."""

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    received: list[int] = field(default_factory=list)
    sent: int = 0
    now: int = 0
    most_at_once: int = 0
    broken: bool = False


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket: Bucket

    def log_message(self, *_: object) -> None:
        pass

    def do_PUT(self) -> None:
        key, query, body = self._request()
        if "uploadId" in query:
            self.bucket.parts[query["uploadId"][0]][int(query["partNumber"][0])] = body
        else:
            self.bucket.objects[key] = body
        self._answer(200, ETag='"e"')

    def do_POST(self) -> None:
        key, query, _ = self._request()
        if "uploads" in query:
            upload = str(len(self.bucket.parts))
            self.bucket.parts[upload] = {}
            self._xml("InitiateMultipartUploadResult", UploadId=upload)
        else:
            parts = self.bucket.parts.pop(query["uploadId"][0])
            self.bucket.objects[key] = b"".join(parts[number] for number in sorted(parts))
            self._xml("CompleteMultipartUploadResult", Key=key, ETag='"e"')

    def do_GET(self) -> None:
        key, _, _ = self._request()
        data = self.bucket.objects.get(key)
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if data is None:
            self._xml("Error", status=404, Code="NoSuchKey")
        else:
            self._answer(206 if first else 200, data[first:], ETag='"e"')

    def do_HEAD(self) -> None:
        key, _, _ = self._request()
        data = self.bucket.objects.get(key)
        self._answer(404 if data is None else 200, data or b"", ETag='"e"')

    def do_DELETE(self) -> None:
        key, _, _ = self._request()
        self.bucket.objects.pop(key, None)
        self._answer(204)

    def _request(self) -> tuple[str, dict[str, list[str]], bytes]:
        self.bucket.now += 1
        self.bucket.most_at_once = max(self.bucket.now, self.bucket.most_at_once)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.bucket.received.append(len(body))
        address = urlsplit(self.path)
        key = "" if self.bucket.broken else unquote(address.path).removeprefix("/stems/")
        return key, parse_qs(address.query, keep_blank_values=True), body

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.bucket.now -= 1
        self.send_response(403 if self.bucket.broken else status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            for start in range(0, len(body), 65536):
                try:
                    self.wfile.write(body[start : start + 65536])
                except ConnectionError:
                    self.close_connection = True
                    return
                self.bucket.sent += len(body[start : start + 65536])

    def _xml(self, name: str, status: int = 200, **values: str) -> None:
        root = ET.Element(name, xmlns=NAMESPACE)
        for tag, text in values.items():
            ET.SubElement(root, tag).text = text
        self._answer(status, ET.tostring(root))


@contextmanager
def running_bucket() -> Iterator[Bucket]:
    """An empty bucket called stems."""
    bucket = Bucket()
    handler = type("Handler", (_Handler,), {"bucket": bucket})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        bucket.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield bucket
        server.shutdown()
        thread.join()
