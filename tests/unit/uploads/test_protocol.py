"""How the headers of tus are read: strictly."""

from base64 import b64encode

import pytest

from separation.api.problems import Problem
from separation.uploads import protocol

BAD_NUMBERS = ["-1", "1e9", "+5", "٣", "5 5", " 5", "5,5", "0x10", "", str(2**63), "9" * 30, "1.0", "five"]


@pytest.mark.parametrize("text", BAD_NUMBERS)
def test_a_length_that_is_no_plain_number_is_refused(text: str) -> None:
    with pytest.raises(Problem) as refused:
        protocol.creation({"Upload-Length": text})
    assert (refused.value.status, refused.value.code) == (400, "invalid_header")


@pytest.mark.parametrize("text", BAD_NUMBERS)
def test_an_offset_that_is_no_plain_number_is_refused(text: str) -> None:
    with pytest.raises(Problem) as refused:
        protocol.upload_offset({"Upload-Offset": text})
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "headers",
    [{}, {"Upload-Length": "5", "Upload-Defer-Length": "1"}, {"Upload-Defer-Length": "0"}, {"Upload-Defer-Length": ""}],
)
def test_a_length_is_either_given_or_deferred(headers: dict[str, str]) -> None:
    with pytest.raises(Problem) as refused:
        protocol.creation(headers)
    assert refused.value.status == 400


def test_the_largest_length_is_2_to_the_63_less_1() -> None:
    assert protocol.creation({"Upload-Length": str(2**63 - 1)}).length == 2**63 - 1


def test_metadata_is_pairs_of_keys_and_base64() -> None:
    name = b64encode("Möwe, 1.wav".encode()).decode()
    assert protocol.metadata(f"filename {name},empty,filetype YXVkaW8=") == {
        "filename": "Möwe, 1.wav".encode(),
        "empty": b"",
        "filetype": b"audio",
    }


def test_an_empty_metadata_header_has_no_pairs() -> None:
    assert protocol.metadata("") == {}


@pytest.mark.parametrize(
    "text",
    ["filename !!!", "a YQ==,a YQ==", ", ", "a YQ==,", "é YQ==", "a é", "a YQ", "a " + "A" * 65536, "a YQ== b"],
)
def test_malformed_metadata_is_refused(text: str) -> None:
    with pytest.raises(Problem) as refused:
        protocol.metadata(text)
    assert (refused.value.status, refused.value.code) == (400, "invalid_metadata")


def test_a_file_name_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(Problem) as refused:
        protocol.text_value({"filename": b"\xff\xfe"}, "filename")
    assert refused.value.code == "invalid_metadata"


def test_an_unknown_checksum_algorithm_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Problem) as refused:
        protocol.checksum({"Upload-Checksum": "crc32 AAAA"})
    assert refused.value.headers["Tus-Checksum-Algorithm"] == "sha1,sha256"


@pytest.mark.parametrize("text", ["sha1", "sha1 AAAA", "sha256 !!", "sha1  "])
def test_a_checksum_that_cannot_be_one_is_refused(text: str) -> None:
    with pytest.raises(Problem) as refused:
        protocol.checksum({"Upload-Checksum": text})
    assert refused.value.status == 400


@pytest.mark.parametrize("headers", [{"Transfer-Encoding": "chunked"}, {"Content-Length": ""}, {}])
def test_a_body_of_unknown_length_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Problem) as refused:
        protocol.body_length(headers)
    assert refused.value.status == 411


@pytest.mark.parametrize("version", ["0.2.2", "1.0", "1.0.1", "", "one"])
def test_another_version_of_the_protocol_is_refused_with_ours(version: str) -> None:
    with pytest.raises(Problem) as refused:
        protocol.check_version({"Tus-Resumable": version})
    assert (refused.value.status, refused.value.headers["Tus-Version"]) == (412, "1.0.0")
