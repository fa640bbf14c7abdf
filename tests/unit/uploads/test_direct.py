"""Reading a body past gunicorn's buffers, without taking a byte that is not the body's."""

import io
import socket
from collections.abc import Iterator

import pytest
from django.test import RequestFactory
from gunicorn.http.body import Body, LengthReader
from gunicorn.http.unreader import SocketUnreader

from separation.uploads.direct import DirectSource, body_source


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def reader_of(ours: socket.socket, length: int, buffered: bytes = b"") -> LengthReader:
    unreader = SocketUnreader(ours)
    unreader.unread(buffered)
    return LengthReader(unreader, length)


def test_what_is_buffered_comes_first_then_the_socket(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"defgh")
    source = DirectSource(reader_of(ours, 8, b"abc"))
    assert (source.read(100), source.read(100), source.read(100)) == (b"abc", b"defgh", b"")


def test_the_next_request_on_the_connection_is_left_alone(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    reader = reader_of(ours, 3, b"abcGET / HTTP/1.1")
    assert DirectSource(reader).read(100) == b"abc"
    assert (reader.length, reader.unreader.take_buffered()) == (0, b"GET / HTTP/1.1")
    theirs.sendall(b"more")
    assert DirectSource(reader).read(100) == b""
    assert ours.recv(10) == b"more"


def test_small_reads_of_what_is_buffered_lose_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    source = DirectSource(reader_of(pair[0], 5, b"abcde"))
    assert [source.read(2) for _ in range(4)] == [b"ab", b"cd", b"e", b""]


def test_a_connection_that_closes_is_an_early_end(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    reader = reader_of(ours, 5)
    theirs.close()
    assert (DirectSource(reader).read(5), reader.length) == (b"", 5)


def test_gunicorns_body_over_a_plain_socket_is_read_directly(pair: tuple[socket.socket, socket.socket]) -> None:
    request = RequestFactory().post("/")
    request.META["wsgi.input"] = Body(reader_of(pair[0], 5))
    assert isinstance(body_source(request), DirectSource)


def test_anything_else_is_left_to_the_server(pair: tuple[socket.socket, socket.socket]) -> None:
    request = RequestFactory().post("/")
    assert body_source(request) is request
    begun = Body(reader_of(pair[0], 5, b"abcde"))
    begun.buf = io.BytesIO()
    begun.buf.write(b"x")
    request.META["wsgi.input"] = begun
    assert body_source(request) is request
