"""Worker clusters that are killed, stopped or stuck, with the processes that run in production."""

import os
import signal
import subprocess
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.acceptance.instance import SMALL, Instance, end, engines_below, family_of, gone, wait_for
from tests.benchmarks.standins import write_standin

pytestmark = pytest.mark.slow
SECONDS = 90
"""Of the song: long enough that what is done to a running job comes before its end."""
STEMS = ["bass", "drums", "other", "vocals"]


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    folder = tmp_path_factory.mktemp("instance")
    write_standin(folder / "models", "htdemucs", overrides=SMALL)
    with Instance(folder, DEFAULT_MODEL="htdemucs") as running:
        running.start("reap")
        yield running


@pytest.fixture(scope="module")
def song(instance: Instance) -> Path:
    path = instance.data_dir / "song.wav"
    noise = (np.random.default_rng(0).standard_normal((44100 * SECONDS, 2)) * 3000).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44100)
        file.writeframes(noise.tobytes())
    return path


@pytest.fixture
def start_another(instance: Instance) -> Iterator[Callable[[], None]]:
    """Starts clusters as the process manager does when one has ended; ends them with the test."""
    started: list[subprocess.Popen[bytes]] = []
    yield lambda: started.append(instance.start("work"))
    for process in started:
        end(process)


@pytest.fixture
def cluster(instance: Instance) -> Iterator[subprocess.Popen[bytes]]:
    process = instance.start("work")
    yield process
    end(process)


def submitted_and_separating(instance: Instance, song: Path) -> str:
    key = instance.submit(song)
    wait_for(lambda: instance.job(key)["progress"] > 0, 180, "the job to make progress")
    return key


def assert_finished_with_nothing_stray(instance: Instance, key: str) -> None:
    wait_for(lambda: instance.job(key)["state"] == "succeeded", 240, "the job to succeed")
    number = instance.job(key)["attempt_number"]
    wanted = [f"{number}-{stem}.wav" for stem in STEMS]
    assert [Path(name).name for name in instance.files("media") if key in name] == wanted
    wait_for(lambda: instance.files("staging/jobs") == [], 60, "the staging folder to be empty")
    held = "SELECT count(*) FROM memory_reservation WHERE released_at IS NULL"
    wait_for(lambda: instance.query(held) == [(0,)], 60, "its memory to be given back")


def session_of(leader: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Whatever was started in a cluster's session and is there, also when its parent is not."""
    return [process for process in psutil.process_iter() if _session(process.pid) == leader.pid]


def _session(pid: int) -> int:
    with suppress(ProcessLookupError):
        return os.getsid(pid)
    return 0


def test_a_job_whose_cluster_is_killed_runs_again_and_succeeds(
    instance: Instance, song: Path, cluster: subprocess.Popen[bytes], start_another: Callable[[], None]
) -> None:
    key = submitted_and_separating(instance, song)
    family = family_of(cluster)
    assert engines_below(cluster)
    cluster.kill()
    cluster.wait()
    wait_for(lambda: gone(family), 30, "workers and engine to be gone with their cluster")
    start_another()
    assert_finished_with_nothing_stray(instance, key)
    assert instance.attempts(key) == [("requeued", "lost_worker"), ("succeeded", "")]


def test_a_job_whose_worker_is_killed_runs_again_in_the_same_cluster(
    instance: Instance, song: Path, cluster: subprocess.Popen[bytes]
) -> None:
    key = submitted_and_separating(instance, song)
    ((worker,),) = instance.query("SELECT worker_pid FROM separation_attempt ORDER BY id DESC LIMIT 1")
    engines = engines_below(cluster)
    assert engines
    psutil.Process(worker).kill()
    wait_for(lambda: gone(engines), 30, "the engine to be gone with its worker")
    assert_finished_with_nothing_stray(instance, key)
    assert instance.attempts(key)[0] == ("requeued", "lost_worker")


def test_a_stopped_cluster_puts_its_job_back_and_leaves_no_process(
    instance: Instance, song: Path, cluster: subprocess.Popen[bytes], start_another: Callable[[], None]
) -> None:
    key = submitted_and_separating(instance, song)
    family = family_of(cluster)
    cluster.send_signal(signal.SIGTERM)
    assert cluster.wait(timeout=60) == 0
    assert gone(family)
    assert instance.job(key)["state"] == "queued"
    assert instance.attempts(key) == [("requeued", "worker_stopped")]
    start_another()
    assert_finished_with_nothing_stray(instance, key)


def test_a_signal_to_every_process_of_the_service_puts_its_job_back_too(
    instance: Instance, song: Path, cluster: subprocess.Popen[bytes], start_another: Callable[[], None]
) -> None:
    key = submitted_and_separating(instance, song)
    family = family_of(cluster)
    for process in [psutil.Process(cluster.pid), *family]:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    assert cluster.wait(timeout=60) == 0
    assert gone(family)
    assert instance.attempts(key) == [("requeued", "worker_stopped")]
    incidents = "SELECT count(*) FROM memory_memoryincident WHERE kind = 'killed' AND operation_key = ?"
    assert instance.query(incidents, key) == [(0,)]
    start_another()
    assert_finished_with_nothing_stray(instance, key)


def test_a_signal_to_one_worker_stops_the_cluster_in_good_order(
    instance: Instance, song: Path, cluster: subprocess.Popen[bytes], start_another: Callable[[], None]
) -> None:
    key = submitted_and_separating(instance, song)
    ((worker,),) = instance.query("SELECT worker_pid FROM separation_attempt ORDER BY id DESC LIMIT 1")
    psutil.Process(worker).terminate()
    assert cluster.wait(timeout=60) == 0
    assert instance.attempts(key) == [("requeued", "worker_stopped")]
    start_another()
    assert_finished_with_nothing_stray(instance, key)


WATCH = """
import time
from separation.services.watchdog import Watchdog, process_of
from separation.models import WorkerCluster
watchdog, deadline, answer = Watchdog(patience=4, every=0.5), time.monotonic() + {seconds}, None
while time.monotonic() < deadline and process_of(WorkerCluster.objects.first()):
    watchdog.check()
    time.sleep(0.5)
answer = WorkerCluster.objects.filter(answered_at__isnull=False).exists()
"""


def test_a_cluster_that_answers_is_left_alone(instance: Instance, cluster: subprocess.Popen[bytes]) -> None:
    wait_for(lambda: len(family_of(cluster)) >= 6, 60, "the workers to start")
    assert instance.python(WATCH.format(seconds=8)) is True
    assert cluster.poll() is None


def test_a_cluster_that_hands_out_no_messages_any_more_is_ended(
    instance: Instance, cluster: subprocess.Popen[bytes]
) -> None:
    answered = "SELECT count(*) FROM separation_workercluster WHERE pid = ? AND answered_at IS NOT NULL"
    wait_for(lambda: instance.query(answered, cluster.pid) == [(1,)], 60, "the cluster's first answer")
    time.sleep(1)  # no message is on its way now: the next ping is much later
    sentinel = psutil.Process(cluster.pid).children()[0]
    for worker in sorted(sentinel.children(), key=lambda process: process.create_time())[:4]:
        worker.kill()  # one of them waits for a message and takes the queue's lock with it
    instance.python(WATCH.format(seconds=40))
    wait_for(lambda: cluster.poll() is not None, 30, "the stuck cluster to be ended")
    wait_for(lambda: gone(session_of(cluster)), 30, "its workers to be gone, those too that were started meanwhile")
