"""Bad input, each kind of it: a reason and a sentence, nothing left behind, and the next job runs.

Real probes, a real engine with a small network of random weights, real files.
"""

from pathlib import Path

import pytest
from django.contrib.auth.models import User

from memory.limiter import ConcurrentOperationLimiter
from memory.models import Reservation
from separation.errors import SENTENCES, ServiceError
from separation.models import JobState, SeparationJob, Track
from separation.services import create_track, parse_options, submit
from separation.services.children import ENGINE
from separation.services.running import JobRunner

from .bad_files import ACCEPTED, REFUSED, Make, tone, write_wav
from .conftest import staged, stored

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("small_model")]


def run(track: Track, engine: tuple[str, ...] = ENGINE, **asked: object) -> SeparationJob:
    job = submit(track.owner, track, parse_options({"model": "htdemucs", "shifts": 0, **asked}), force=True)
    JobRunner(engine=engine).run_all()
    job.refresh_from_db()
    return job


def assert_nothing_left_of(job: SeparationJob) -> None:
    assert staged() == []
    assert stored(f"stems/{job.pk}") == []
    assert not Reservation.objects.held().exists()


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_holds_no_music_is_refused_and_not_kept(name: str, user: User, uploads: Path) -> None:
    make, code = REFUSED[name]
    path = make(uploads)
    with pytest.raises(ServiceError) as refusal:
        create_track(user, path, path.name)
    assert refusal.value.code == code
    assert refusal.value.message.endswith(".") and refusal.value.field == "file"
    assert (Track.objects.count(), stored("tracks"), staged()) == (0, [], [])
    assert not Reservation.objects.held().exists()


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_file_that_is_odd_or_damaged_gives_the_stems_of_what_it_holds(name: str, user: User, uploads: Path) -> None:
    make: Make = ACCEPTED[name]
    track = create_track(user, make(uploads), "Odd.wav")
    job = run(track, two_stems="vocals")
    assert (job.state, job.reason) == (JobState.SUCCEEDED, "")
    assert {stem.samples for stem in job.stems.all()} == {job.result["effective"]["samples"]}
    assert staged() == []


def test_a_file_without_one_sample_fails_with_a_reason(user: User, uploads: Path) -> None:
    from .bad_files import raw_wav

    job = run(create_track(user, raw_wav(uploads / "a.wav", b""), "Empty.wav"))
    assert (job.state, job.reason) == (JobState.FAILED, "unreadable_audio")
    assert job.message
    assert_nothing_left_of(job)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd.wav", "passwd.wav"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("a\"b'c.wav", "a\"b'c.wav"),
        ("a\r\nSet-Cookie: x=1.wav", "aSet-Cookie: x=1.wav"),
        ("a\0b.wav", "ab.wav"),
        ("song\u202egpj.wav", "songgpj.wav"),
        ("-rf.wav", "-rf.wav"),
        ("x" * 300 + ".wav", "x" * 251 + ".wav"),
        ("", "track"),
        ("..", "track"),
        ("\ud800.wav", ".wav"),
        ("Ärger – сон.mp3", "Ärger – сон.mp3"),
    ],
)
def test_a_hostile_file_name_is_data_and_never_a_path(given: str, kept: str, user: User, uploads: Path) -> None:
    track = create_track(user, write_wav(uploads / "a.wav", tone(0.1)), given)
    track.refresh_from_db()
    assert track.original_name == kept
    assert track.file.name == f"tracks/{track.pk}/original"
    assert stored("tracks") == [track.file.name]


@pytest.mark.parametrize(
    ("asked", "code", "field"),
    [
        ({"model": "spleeter"}, "unknown_model", "model"),
        ({"stems": ["piano"]}, "unknown_stem", "stems"),
        ({"two_stems": "guitar"}, "unknown_stem", "two_stems"),
        ({"stems": []}, "invalid_option", "stems"),
        ({"shifts": -1}, "invalid_option", "shifts"),
        ({"shifts": 1e9}, "invalid_option", "shifts"),
        ({"shifts": float("nan")}, "invalid_option", "shifts"),
        ({"overlap": 1}, "invalid_option", "overlap"),
        ({"format": "exe"}, "invalid_option", "format"),
    ],
)
def test_an_option_that_cannot_be_honoured_is_refused_by_name(asked: dict[str, object], code: str, field: str) -> None:
    with pytest.raises(ServiceError) as refusal:
        parse_options({"model": "htdemucs", **asked})
    assert (refusal.value.code, refusal.value.field) == (code, field)


@pytest.fixture
def track(user: User, uploads: Path) -> Track:
    return create_track(user, write_wav(uploads / "a.wav", tone(0.5)), "Song.wav")


def test_a_model_without_weights_is_refused_saying_what_to_do(track: Track) -> None:
    with pytest.raises(ServiceError) as refusal:
        submit(track.owner, track, parse_options({"model": "mdx_extra"}))
    assert refusal.value.code == "model_unavailable" and "fetch_model mdx_extra" in refusal.value.message
    assert not SeparationJob.objects.exists()


def test_weights_that_go_while_the_job_waits_fail_it_with_that_reason(track: Track, settings, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    job = submit(track.owner, track, parse_options({"model": "htdemucs"}))
    settings.MODEL_DIR = tmp_path
    JobRunner().run_all()
    job.refresh_from_db()
    assert (job.state, job.reason) == (JobState.FAILED, "model_unavailable")
    assert_nothing_left_of(job)


def test_a_disk_that_fills_while_stems_are_staged_fails_the_job_with_that_reason(track: Track) -> None:
    full = ("sh", "-c", 'ulimit -f 40 && exec "$@"', "sh", *ENGINE)
    job = run(track, engine=full)
    assert (job.state, job.reason) == (JobState.FAILED, "disk_full")
    assert job.message == SENTENCES["disk_full"]
    assert_nothing_left_of(job)


def test_a_missing_ffmpeg_fails_the_job_with_that_reason(track: Track, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEMSITE_FFMPEG", "/nowhere/ffmpeg")
    job = run(track)
    assert (job.state, job.reason) == (JobState.FAILED, "ffmpeg_missing")
    assert_nothing_left_of(job)


def test_a_missing_ffmpeg_refuses_an_upload_with_that_reason(
    user: User, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEMSITE_FFMPEG", "/nowhere/ffmpeg")
    with pytest.raises(ServiceError) as refusal:
        create_track(user, write_wav(uploads / "a.wav", tone(0.1)), "a.wav")
    assert (refusal.value.code, refusal.value.http_status) == ("ffmpeg_missing", 503)


def test_a_track_whose_file_is_gone_fails_its_job_with_that_reason(track: Track) -> None:
    Path(track.file.path).unlink()
    job = run(track)
    assert (job.state, job.reason) == (JobState.FAILED, "file_missing")
    assert_nothing_left_of(job)


def test_the_real_engine_over_its_limit_is_tried_leaner_then_fails_with_its_peaks_and_the_next_job_runs(
    track: Track,
    settings,  # type: ignore[no-untyped-def]
) -> None:
    job = submit(track.owner, track, parse_options({"model": "htdemucs"}))
    settings.PROCESS_MEMORY_LIMIT_MB = 330
    JobRunner().run_all()
    job.refresh_from_db()
    assert (job.state, job.reason) == (JobState.FAILED, "memory_limit")
    assert [(a.lean, a.reason) for a in job.attempts.all()] == [(0, "memory_limit"), (1, "memory_limit")]
    peaks = [attempt.peak_bytes // 1024**2 for attempt in job.attempts.all()]
    assert all(200 < peak < 380 for peak in peaks), peaks
    assert_nothing_left_of(job)
    settings.PROCESS_MEMORY_LIMIT_MB = 2000
    assert run(track, two_stems="vocals").state == JobState.SUCCEEDED


def test_a_job_larger_than_the_server_is_refused_with_the_numbers(track: Track, settings) -> None:  # type: ignore[no-untyped-def]
    settings.PROCESS_MEMORY_LIMIT_MB = 300
    with pytest.raises(ServiceError) as refusal:
        submit(track.owner, track, parse_options({"model": "htdemucs"}))
    assert refusal.value.code == "cannot_fit" and "300 MB" in refusal.value.message


@pytest.mark.parametrize(
    ("setting", "value", "code"),
    [("MAX_UPLOAD_BYTES", 1000, "too_large"), ("QUOTA_BYTES_PER_USER", 1000, "quota_exceeded")],
)
def test_a_file_over_a_limit_is_refused(
    setting: str,
    value: int,
    code: str,
    user: User,
    uploads: Path,
    settings,  # type: ignore[no-untyped-def]
) -> None:
    setattr(settings, setting, value)
    with pytest.raises(ServiceError) as refusal:
        create_track(user, write_wav(uploads / "a.wav", tone(0.1)), "a.wav")
    assert refusal.value.code == code


def test_an_upload_that_finds_no_free_memory_is_told_when_to_come_back(user: User, uploads: Path) -> None:
    limiter, path = ConcurrentOperationLimiter(), write_wav(uploads / "a.wav", tone(0.1))
    limiter.reserve(kind="upload", key="large", bytes=int(limiter.budget() * 0.99), lease_seconds=60)
    with pytest.raises(ServiceError) as refusal:
        create_track(user, path, "a.wav")
    assert (refusal.value.code, refusal.value.http_status) == ("busy", 503)
    assert refusal.value.retry_after > 0 and path.exists()


def test_music_longer_than_allowed_is_refused(user: User, uploads: Path, settings) -> None:  # type: ignore[no-untyped-def]
    settings.MAX_DURATION_SECONDS = 1
    with pytest.raises(ServiceError) as refusal:
        create_track(user, write_wav(uploads / "a.wav", tone(1.5)), "a.wav")
    assert refusal.value.code == "too_long"


def test_quotas_on_jobs_say_what_to_do(track: Track, settings) -> None:  # type: ignore[no-untyped-def]
    settings.QUOTA_QUEUED_JOBS = 1
    options = parse_options({"model": "htdemucs"})
    submit(track.owner, track, options, force=True)
    with pytest.raises(ServiceError) as refusal:
        submit(track.owner, track, options, force=True)
    assert (refusal.value.code, refusal.value.http_status) == ("quota_exceeded", 429)


def test_the_finished_job_of_the_same_owner_is_returned_instead_of_a_second(track: Track) -> None:
    first = run(track, two_stems="vocals")
    options = parse_options({"model": "htdemucs", "shifts": 0, "two_stems": "vocals"})
    again = submit(track.owner, track, options)
    assert (again.pk, again.reused) == (first.pk, True)  # type: ignore[attr-defined]
    assert submit(track.owner, track, options, force=True).pk != first.pk
    other = parse_options({"model": "htdemucs", "shifts": 0, "two_stems": "drums"})
    assert submit(track.owner, track, other).pk != first.pk
