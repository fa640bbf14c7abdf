"""One HTTP POST to an address that a user chose: to public addresses only, checked on the address connected to.

The name is resolved once and the connection goes to an address that was checked, so an answer that changes
between check and use changes nothing. Redirects are not followed. Proxies of the environment are not used.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import SplitResult, urlsplit

from separation.webhooks.deadline import Deadline, TimedSocket

Resolver = Callable[..., list]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
MOST_ANSWER_BYTES = 1024
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
PORTS = {"http": 80, "https": 443}


class Undeliverable(Exception):
    """The message could not be delivered; the text says why, for the delivery log."""


def parsed(url: str) -> SplitResult:
    """The parts of a target. Raises `Undeliverable` unless it is plain http(s) to a host, without a password."""
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port is None or 0 < parts.port < 65536
    except ValueError as error:
        raise Undeliverable("the address is malformed") from error
    if parts.scheme not in PORTS or not parts.hostname or parts.username or parts.password or not port_is_fine:
        raise Undeliverable("the address must be http or https, with a host and without a password")
    if not url.isascii() or any(c <= " " or c == "\x7f" for c in url):
        raise Undeliverable("the address has characters that must be encoded")
    return parts


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet, also when it wraps an IPv4 address."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address not in GLOBAL_UNICAST:  # there are more kinds of others than Python's tables know
            return False
    return address.is_global and not address.is_multicast


def resolve(host: str, port: int, *, allow_private: bool, resolver: Resolver = socket.getaddrinfo) -> list[str]:
    """The addresses of a host, at least one, all of them public. Raises `Undeliverable`."""
    try:
        found = [entry[4][0] for entry in resolver(host, port, type=socket.SOCK_STREAM)]
        addresses = [ipaddress.ip_address(str(text).partition("%")[0]) for text in found]
    except (OSError, UnicodeError, ValueError) as error:
        raise Undeliverable("the host name cannot be resolved") from error
    if not addresses:
        raise Undeliverable("the host name cannot be resolved")
    if not allow_private and not all(is_public(address) for address in addresses):
        raise Undeliverable("the host is not on the public internet")
    return [str(address) for address in addresses]


class _Checked(http.client.HTTPConnection):
    """A connection to one of the addresses that were checked, for the host whose name it bears, until a deadline."""

    def __init__(self, host: str, port: int, addresses: Sequence[str], deadline: Deadline, *, secure: bool) -> None:
        self.default_port = PORTS["https" if secure else "http"]  # which the Host header leaves out
        super().__init__(host, port)
        self._addresses, self._secure, self._deadline = addresses, secure, deadline

    def connect(self) -> None:
        sock = self._connected()
        try:
            if self._secure:
                sock.settimeout(self._deadline.left())
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=self.host)
        except BaseException:
            sock.close()
            raise
        self.sock = TimedSocket(sock, self._deadline)

    def _connected(self) -> socket.socket:
        """A socket to the first address that takes one; each has its share of the time that is left."""
        *others, last = self._addresses
        for tried, address in enumerate(others):
            try:
                share = self._deadline.left() / (len(self._addresses) - tried)
                return socket.create_connection((address, self.port), share)
            except OSError:
                continue
        return socket.create_connection((last, self.port), self._deadline.left())


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    timeout: float,
    allow_private: bool = False,
    resolver: Resolver = socket.getaddrinfo,
) -> int:
    """Sends `body` and returns the answer's status, whatever it is.

    Raises `Undeliverable` without a whole answer `timeout` seconds after the host's name was resolved.
    """
    parts = parsed(url)
    host, port = str(parts.hostname), parts.port or PORTS[parts.scheme]
    addresses = resolve(host, port, allow_private=allow_private, resolver=resolver)
    connection = _Checked(host, port, addresses, Deadline(timeout), secure=parts.scheme == "https")
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, body, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        response.read(MOST_ANSWER_BYTES)
        return response.status
    except (OSError, http.client.HTTPException) as error:
        raise Undeliverable(str(error)[:200] or type(error).__name__) from error
    finally:
        connection.close()
