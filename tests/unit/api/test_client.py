"""The client over a bad line: what it asks for again, how, and what it gives up on at once."""

import json
from collections.abc import Iterator, Mapping
from email.message import Message
from http.client import HTTPResponse
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import pytest

from separation.api.client import Client, StemsiteError

RUNNING = {"state": "running", "progress": 0.5}
DONE = {"state": "succeeded", "progress": 1.0}
BAD_GATEWAY = StemsiteError(502, {}, {})
LINE_CUT = ConnectionResetError()


class Answered(BytesIO):
    """An answer of the server, as far as the client looks at it."""

    def __init__(self, body: Any = None, **headers: str) -> None:
        super().__init__(json.dumps(body).encode())
        self.headers = Message()
        for name, value in {"Retry-After": "0", **headers}.items():
            self.headers[name.replace("_", "-")] = value


class Scripted(Client):
    """A client to which these answers come, in this order; `asked` is what it sent for them."""

    def __init__(self, *answers: Answered | Exception) -> None:
        super().__init__("http://server", "token", piece_bytes=4)
        self.answers = iter(answers)
        self.asked: list[tuple[str, Mapping[str, str], bytes | None]] = []

    def _open(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, data: bytes | None = None
    ) -> HTTPResponse:
        self.asked.append((method, headers or {}, data))
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return cast(HTTPResponse, answer)

    @staticmethod
    def _patience() -> Iterator[float]:
        yield from (0, 0)


@pytest.mark.parametrize("trouble", [BAD_GATEWAY, LINE_CUT])
def test_waiting_goes_on_after_trouble_and_is_patient_anew(trouble: Exception) -> None:
    answers = [trouble, Answered(RUNNING), trouble, Answered(RUNNING), trouble, Answered(DONE)]
    assert Scripted(*answers).wait("1") == DONE


def test_waiting_ends_when_there_is_no_news() -> None:
    with pytest.raises(TimeoutError, match="no news"):
        Scripted(Answered(RUNNING), BAD_GATEWAY, LINE_CUT).wait("1")


def test_a_job_is_asked_for_again_under_the_same_key() -> None:
    client = Scripted(LINE_CUT, Answered({"id": "1"}))
    assert client.submit("2", shifts=3) == {"id": "1"}
    first, again = client.asked
    assert first == again
    assert first[1]["Idempotency-Key"] and json.loads(first[2] or b"") == {"track": "2", "shifts": 3}


def test_each_job_has_its_own_key() -> None:
    client = Scripted(Answered({}), Answered({}))
    client.submit("2")
    client.submit("2")
    assert len({headers["Idempotency-Key"] for _, headers, _ in client.asked}) == 2


@pytest.mark.parametrize("refusal", [StemsiteError(422, {}, {}), StemsiteError(429, {}, {"Retry-After": "3600"})])
def test_what_does_not_get_better_soon_is_raised_at_once(refusal: StemsiteError) -> None:
    with pytest.raises(StemsiteError):
        Scripted(refusal).submit("2")


def with_the_answer_lost(last: Answered | Exception) -> Scripted:
    """An upload of four bytes whose last piece arrives, but not the answer to it; `last` is what comes then."""
    return Scripted(Answered(Location="/uploads/1/"), LINE_CUT, Answered(Upload_Offset="4"), last)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    path.write_bytes(b"abcd")
    return path


def test_a_file_that_was_refused_is_told_though_that_answer_was_lost(song: Path) -> None:
    client = with_the_answer_lost(StemsiteError(422, {"code": "unreadable_audio"}, {}))
    with pytest.raises(StemsiteError, match="unreadable_audio"):
        client.upload(song)
    method, headers, data = client.asked[-1]
    assert (method, headers["Upload-Offset"], data) == ("PATCH", "4", b"")


def test_a_track_is_known_though_that_answer_was_lost(song: Path) -> None:
    assert with_the_answer_lost(Answered(Upload_Offset="4", Stemsite_Track="7")).upload(song) == "7"


def test_an_upload_is_patient_anew_once_something_has_arrived(song: Path) -> None:
    song.write_bytes(b"abcdefghijkl")
    answers: list[Answered | Exception] = [LINE_CUT, Answered(Location="/uploads/1/")]
    for arrived in ("3", "6", "9"):
        answers += [LINE_CUT, Answered(Upload_Offset=arrived)]
    client = Scripted(*answers, Answered(Upload_Offset="12", Stemsite_Track="7"))
    assert client.upload(song) == "7"
    assert client.asked[0][1]["Idempotency-Key"] == client.asked[1][1]["Idempotency-Key"]


def test_an_upload_ends_when_nothing_arrives(song: Path) -> None:
    cut = [LINE_CUT, Answered(Upload_Offset="0")]
    with pytest.raises(TimeoutError):
        Scripted(Answered(Location="/uploads/1/"), *cut, *cut, LINE_CUT).upload(song)
