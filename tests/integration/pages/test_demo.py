"""The demo song: made once in a supervised child, a track like any other; nothing is left of a failure."""

import sys
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from separation import demo
from separation.errors import ServiceError
from separation.models import SeparationJob, Track
from tests.integration.pages.test_upload_form import song

pytestmark = pytest.mark.django_db
COPIES = (sys.executable, "-c", "import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2])")


def test_the_song_is_made_once(tmp_path: Any, settings: Any) -> None:
    source = tmp_path / "source.wav"
    source.write_bytes(b"first")
    first = demo.demo_song("1", (*COPIES, str(source)))
    source.write_bytes(b"second")
    assert demo.demo_song("1", (*COPIES, str(source))) == first
    assert first.read_bytes() == b"first"


@pytest.mark.parametrize("program", [("false",), ("true",), ("/nonexistent/program",)])
def test_a_child_that_makes_no_song_is_a_refusal_that_leaves_nothing(program: tuple[str], settings: Any) -> None:
    with pytest.raises(ServiceError, match="Try again"):
        demo.demo_song("1", program)
    assert not list(settings.STAGING_DIR.glob("demo-*"))
    assert not (settings.DATA_DIR / "demo-song.wav").exists()


def test_the_demo_becomes_a_job_and_the_song_stays_for_the_next(page: Client, musician: User, settings: Any) -> None:
    kept = settings.DATA_DIR / "demo-song.wav"
    kept.write_bytes(song().read())
    for _ in range(2):
        assert page.post("/demo/").status_code == 302
    assert kept.exists()
    assert set(SeparationJob.objects.values_list("track__original_name", flat=True)) == {"Demo song.wav"}


def test_the_demo_again_is_of_the_same_track(page: Client, settings: Any) -> None:
    (settings.DATA_DIR / "demo-song.wav").write_bytes(song().read())
    for _ in range(2):
        page.post("/demo/")
    assert (Track.objects.count(), SeparationJob.objects.count()) == (1, 2)


@pytest.mark.parametrize("limit", ["UPLOAD_CREATIONS_PER_MINUTE", "UPLOAD_BYTES_PER_DAY", "QUOTA_BYTES_PER_USER"])
def test_the_demo_counts_as_an_upload(page: Client, settings: Any, limit: str) -> None:
    kept = settings.DATA_DIR / "demo-song.wav"
    kept.write_bytes(song().read())
    page.post("/demo/")
    kept.write_bytes(song(seconds=0.3).read())
    setattr(settings, limit, 1)
    answer = page.post("/demo/", follow=True)
    assert f"The limit {limit.lower()} is 1" in answer.content.decode()
    assert (Track.objects.count(), kept.exists()) == (1, True)
