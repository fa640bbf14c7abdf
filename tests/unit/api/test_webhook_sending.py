"""Where webhooks may go: public addresses, checked on the address that is connected to."""

import ipaddress
import socket
import threading
import time
from base64 import b64encode
from typing import Any

import pytest

from separation.webhooks.deadline import Deadline, TimedSocket
from separation.webhooks.sending import Undeliverable, _Checked, is_public, parsed, post, resolve
from separation.webhooks.signing import signature_headers
from tests.integration.uploads.live import soon
from tests.ports import free_port


def resolving_to(*addresses: str) -> Any:
    return lambda host, port, **_: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "fec0::1",
        "64:ff9b:1::1",
        "::127.0.0.1",
        "::ffff:0:127.0.0.1",
    ],
)
def test_an_address_inside_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    with pytest.raises(Undeliverable):
        resolve("host.example", 80, allow_private=False, resolver=resolving_to(address))


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"])
def test_an_address_outside_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    with pytest.raises(Undeliverable):
        resolve("h", 80, allow_private=False, resolver=resolving_to("93.184.216.34", "127.0.0.1"))


def test_a_name_that_does_not_resolve_is_undeliverable() -> None:
    def failing(*_: Any, **__: Any) -> list:
        raise socket.gaierror

    with pytest.raises(Undeliverable):
        resolve("h", 80, allow_private=False, resolver=failing)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com",
        "http://",
        "http://user:pw@example.com/",
        "http://example.com:99999/",
        "http://example.com:0/",
        "http://exa mple.com/",
        "http://example.com/\r\nX: y",
        "http://[::1",
        "http://möwe.example/",
        "//example.com",
        "",
    ],
)
def test_a_target_is_a_plain_http_address(url: str) -> None:
    with pytest.raises(Undeliverable):
        parsed(url)


@pytest.fixture
def receiver() -> Any:
    """A server on loopback that answers one request with what `answer` holds, and keeps what it got."""

    class Receiver:
        answer = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"
        got = b""

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        server = Receiver()
        server.port = listener.getsockname()[1]  # type: ignore[attr-defined]

        def serve() -> None:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                while not server.got.endswith(b"body"):
                    server.got += connection.recv(65536)
                connection.sendall(server.answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server
        listener.close()
        thread.join()


def test_a_message_goes_to_the_address_that_was_checked(receiver: Any) -> None:
    url = f"http://hooks.example:{receiver.port}/in?x=1"
    status = post(url, b"body", {}, timeout=5, allow_private=True, resolver=resolving_to("127.0.0.1"))
    assert status == 204
    assert receiver.got.startswith(b"POST /in?x=1 HTTP/1.1\r\n")
    assert f"Host: hooks.example:{receiver.port}".encode() in receiver.got


def test_a_message_goes_to_the_next_address_where_one_takes_no_connection(receiver: Any) -> None:
    url = f"http://hooks.example:{receiver.port}/"
    several = resolving_to("127.0.0.2", "127.0.0.3", "127.0.0.1")
    assert post(url, b"body", {}, timeout=5, allow_private=True, resolver=several) == 204


def test_a_host_none_of_whose_addresses_takes_a_connection_is_undeliverable() -> None:
    url = f"http://hooks.example:{free_port()}/"
    with pytest.raises(Undeliverable):
        post(url, b"body", {}, timeout=5, allow_private=True, resolver=resolving_to("127.0.0.2", "127.0.0.1"))


@pytest.mark.parametrize(
    ("secure", "port", "host"),
    [(True, 443, "h.example"), (True, 80, "h.example:80"), (False, 80, "h.example"), (False, 443, "h.example:443")],
)
def test_the_host_header_leaves_out_the_schemes_own_port_only(secure: bool, port: int, host: str) -> None:
    ours, theirs = socket.socketpair()
    connection = _Checked("h.example", port, ["127.0.0.1"], Deadline(5), secure=secure)
    connection.sock = ours
    with ours, theirs:
        connection.request("POST", "/")
        assert f"\r\nHost: {host}\r\n".encode() in theirs.recv(65536)


def test_a_redirect_is_not_followed(receiver: Any) -> None:
    receiver.answer = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    url = f"http://127.0.0.1:{receiver.port}/"
    assert post(url, b"body", {}, timeout=5, allow_private=True) == 302


def test_a_receiver_that_speaks_no_http_is_undeliverable(receiver: Any) -> None:
    receiver.answer = b"nonsense\r\n\r\n"
    with pytest.raises(Undeliverable):
        post(f"http://127.0.0.1:{receiver.port}/", b"body", {}, timeout=5, allow_private=True)


@pytest.fixture
def dripping() -> Any:
    """A server on loopback that sends `piece` again and again until its client leaves or it has done so 100 times."""

    class Dripping:
        piece = b"H"
        was_left = False

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        server = Dripping()
        server.port = listener.getsockname()[1]  # type: ignore[attr-defined]

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    for _ in range(100):
                        connection.sendall(server.piece)
                        time.sleep(0.1)
                except ConnectionError:
                    server.was_left = True

        thread = threading.Thread(target=serve)
        thread.start()
        yield server
        thread.join()


@pytest.mark.parametrize(
    ("scheme", "piece"),
    [
        ("http", b"H"),
        ("http", b"HTTP/1.1 100 Continue\r\n\r\n"),
        ("http", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        ("https", b"\x16\x03\x03"),  # the head of a TLS record; anything else would be refused at once
    ],
)
def test_a_receiver_that_drips_without_end_is_left(dripping: Any, piece: bytes, scheme: str) -> None:
    dripping.piece = piece
    with pytest.raises(Undeliverable, match=r"timed out|took too long"):
        post(f"{scheme}://127.0.0.1:{dripping.port}/", b"body", {}, timeout=0.5, allow_private=True)
    assert soon(lambda: dripping.was_left)


def test_time_runs_out_between_bytes_too() -> None:
    now = [0.0]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader = TimedSocket(ours, Deadline(10, clock=lambda: now[0])).makefile()
        theirs.sendall(b"a")
        assert reader.read1() == b"a"
        now[0] = 10.0
        theirs.sendall(b"b")
        with pytest.raises(TimeoutError):
            reader.read1()
        reader.close()


def test_a_message_is_signed_as_standard_webhooks_has_it() -> None:
    """The values of the specification's own example."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = signature_headers(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_another_body_has_another_signature() -> None:
    secret = "whsec_" + b64encode(b"k" * 32).decode()
    assert signature_headers(secret, "m", 1, b"a") != signature_headers(secret, "m", 1, b"b")
