"""Two hosts, one PostgreSQL, one storage: what a lost host leaves, the other finishes."""

import json
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.acceptance.instance import SMALL, Instance, engines_below, wait_for
from tests.benchmarks.standins import write_standin
from tests.integration.memory_admission.postgres import find_programs, temporary_server

pytestmark = [pytest.mark.slow, pytest.mark.postgres]
LOOK = """
from separation.models import SeparationJob
job = SeparationJob.objects.get(pk={key!r})
answer = [job.state, job.host, [a.reason for a in job.attempts.all()], sorted(s.file.name for s in job.stems.all())]
"""


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Instance, Instance]]:
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL's initdb and pg_ctl are not installed")
    storage = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(tmp_path / "shared")},
    }
    with temporary_server(programs) as server:
        shared = {
            "DATABASE_URL": f"{server}/postgres",
            "DEFAULT_STORAGE": json.dumps(storage),
            "DEFAULT_MODEL": "htdemucs",
            "SECRET_KEY": "of both hosts",
        }
        with host(tmp_path / "a", "host-a", shared) as first, host(tmp_path / "b", "host-b", shared) as second:
            yield first, second


def host(folder: Path, name: str, shared: dict[str, str]) -> Instance:
    write_standin(folder / "models", "htdemucs", overrides=SMALL)
    return Instance(folder, HOST_NAME=name, **shared)


def song(path: Path) -> Path:
    noise = (np.random.default_rng(0).standard_normal((44100 * 30, 2)) * 3000).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44100)
        file.writeframes(noise.tobytes())
    return path


def test_the_job_of_a_host_that_is_lost_is_finished_by_another(
    hosts: tuple[Instance, Instance], tmp_path: Path
) -> None:
    first, second = hosts
    key = first.submit(song(tmp_path / "song.wav"))
    cluster = first.start("work")
    wait_for(lambda: engines_below(cluster), 180, "the first host to run the job")
    cluster.kill()
    second.start("work")
    second.start("reap")
    wait_for(lambda: second.python(LOOK.format(key=key))[0] == "succeeded", 240, "the second host to finish it")
    _, where, reasons, stems = second.python(LOOK.format(key=key))
    assert (where, reasons) == ("host-b", ["lost_worker", ""])
    assert [Path(name).name for name in stems] == ["2-bass.wav", "2-drums.wav", "2-other.wav", "2-vocals.wav"]
    assert [path.name for path in sorted((tmp_path / "shared" / "stems").rglob("*.wav"))] == [
        Path(name).name for name in stems
    ]
