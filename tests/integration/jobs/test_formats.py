"""What musicians have on their disks goes in, and stems of exactly the same length come out, whole and playable."""

import hashlib
import io
import subprocess
import zipfile
import zlib
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from separation.models import JobState, Stem
from separation.services import create_track, parse_options, stems_archive, submit
from separation.services.running import JobRunner
from tests.acceptance.instance import SMALL
from tests.benchmarks.standins import write_standin

from .bad_files import encoded, tone, write_wav

pytestmark = pytest.mark.django_db(transaction=True)

VIDEO = ("-f", "lavfi", "-i", "color=size=64x64:rate=5", "-map", "0:a", "-map", "1:v", "-shortest")
FILES = {
    "an MP3": ("a.mp3", ("-b:a", "192k", "-metadata", "title=Blue", "-metadata", "artist=Ada")),
    "a 96 kHz 24-bit FLAC": ("a.flac", ("-ar", "96000", "-sample_fmt", "s32")),
    "an OGG": ("a.ogg", ("-c:a", "libvorbis")),
    "an M4A": ("a.m4a", ("-c:a", "aac")),
    "an MP4 video": ("a.mp4", (*VIDEO, "-c:a", "aac")),
    "a mono 8 kHz WAV": ("a.wav", ("-ac", "1", "-ar", "8000")),
    "5.1 surround": ("a.flac", ("-ac", "6")),
}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_standin(folder, "htdemucs", overrides=SMALL)
    return folder


@pytest.fixture(autouse=True)
def small_model(model_dir: Path, settings) -> None:  # type: ignore[no-untyped-def]
    settings.MODEL_DIR, settings.PROCESS_MEMORY_LIMIT_MB = model_dir, 2000


def decoded_samples(path: Path) -> int:
    """Samples per channel at the model's rate, as ffmpeg decodes them."""
    as_decoded = ["-map", "0:a:0", "-ac", "2", "-ar", "44100", "-f", "s16le", "-"]
    command = ["ffmpeg", "-v", "error", "-i", str(path), *as_decoded]
    return len(subprocess.run(command, check=True, capture_output=True).stdout) // 4


@pytest.mark.parametrize("name", FILES)
def test_stems_are_as_long_as_the_decoded_file_to_the_sample(name: str, user: User, tmp_path: Path) -> None:
    file_name, arguments = FILES[name]
    path = encoded(tmp_path / f"made.{file_name.split('.')[1]}", *arguments, seconds=1.3)
    wanted = decoded_samples(path)
    track = create_track(user, path, file_name)
    job = submit(user, track, parse_options({"model": "htdemucs", "shifts": 0}))
    JobRunner().run_all()
    job.refresh_from_db()
    assert (job.state, job.message) == (JobState.SUCCEEDED, "")
    assert {stem.name: stem.samples for stem in job.stems.all()} == dict.fromkeys(
        ("bass", "drums", "other", "vocals"), wanted
    )


@pytest.mark.parametrize("audio_format", ["flac", "opus"])
def test_stems_and_their_archive_are_what_their_rows_say(audio_format: str, user: User, tmp_path: Path) -> None:
    track = create_track(user, write_wav(tmp_path / "a.wav", tone(0.5)), "Löwe/mit\\Zahn.wav")
    job = submit(user, track, parse_options({"model": "htdemucs", "two_stems": "vocals", "format": audio_format}))
    JobRunner().run_all()
    archive = zipfile.ZipFile(io.BytesIO(b"".join(stems_archive(job).iter_range())))
    assert archive.testzip() is None
    for stem in job.stems.all():
        assert_is_its_row(stem, archive.read(stem.download_name))


def assert_is_its_row(stem: Stem, content: bytes) -> None:
    with stem.file.open() as file:
        assert file.read() == content
    assert (len(content), zlib.crc32(content)) == (stem.size, stem.crc32)
    assert hashlib.sha256(content).hexdigest() == stem.sha256


def test_facts_and_tags_of_a_file_are_on_its_track(user: User, tmp_path: Path) -> None:
    track = create_track(user, encoded(tmp_path / "a.mp3", *FILES["an MP3"][1]), "a.mp3")
    assert (track.title, track.artist, track.codec, track.sample_rate, track.channels) == (
        "Blue",
        "Ada",
        "mp3",
        44100,
        2,
    )
    assert track.duration_seconds == pytest.approx(1.0, abs=0.1)
