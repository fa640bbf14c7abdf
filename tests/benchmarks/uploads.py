"""Uploads: `python -m tests.benchmarks.uploads [--tables speeds growth at_once kills] [--gigabytes 5] [--kills 200]`.

Throughput of one connection in pieces of 8 and 64 MB, with each PATCH synced to the disk and without, beside
@tus/server (which syncs nothing) in the same run with the same sender; memory of the web process over it all;
100 uploads at once; and uploads whose web process is killed at random moments. The pieces come from memory, and
throughput is measured up to the last byte; what making a track of it costs (SHA-256, probe) is a row of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from memory.quantities import GIB, MIB
from tests.integration.uploads.live import ROOT, LiveServer, Wire
from tests.integration.uploads.sounds import wav_bytes
from tests.ports import free_port

CLIENTS = ROOT / "tests" / "clients"
TYPE = "application/offset+octet-stream"
PIECES = (8 * MIB, 64 * MIB)
GROWTH_GOAL = 10 * MIB
SYNCED_GOAL, UNSYNCED_GOAL = 0.7, 1.0
AT_ONCE, AT_ONCE_BYTES = 100, 20 * MIB
KILLED_BYTES = 3 * MIB
TABLES = ("speeds", "growth", "at_once", "kills")


@dataclass(frozen=True)
class Speed:
    """One way to receive `size` bytes in pieces of `piece` bytes."""

    server: str
    piece: int
    size: int
    seconds: float

    @property
    def rate(self) -> float:
        """MB (10^6 bytes) per second."""
        return self.size / self.seconds / 1e6


def send(port: int, collection: str, headers: dict[str, str], size: int, piece: int) -> tuple[float, str]:
    """Uploads `size` bytes into an upload that wants one more; seconds, and its path."""
    block = random.Random(1).randbytes(MIB) * (piece // MIB)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    named = {**headers, "Tus-Resumable": "1.0.0"}
    connection.request("POST", collection, headers={**named, "Upload-Length": str(size + 1), "Content-Length": "0"})
    answer = connection.getresponse()
    answer.read()
    path = "/" + answer.headers["Location"].split("://")[-1].partition("/")[2].lstrip("/")
    began, offset = time.perf_counter(), 0
    while offset < size:
        body = block if size - offset >= piece else block[: size - offset]
        connection.request("PATCH", path, body, {**named, "Upload-Offset": str(offset), "Content-Type": TYPE})
        answer = connection.getresponse()
        answer.read()
        offset = int(answer.headers["Upload-Offset"])
    return time.perf_counter() - began, path


@contextmanager
def stemsite(folder: Path, **environment: str) -> Iterator[tuple[LiveServer, str]]:
    """A fresh instance and a token for it."""
    folder.mkdir()
    server = LiveServer(folder, UPLOAD_CREATIONS_PER_MINUTE="0", LOG_LEVEL="WARNING", **environment)
    server.prepare()
    token = server.add_user("owner")
    server.start()
    try:
        yield server, token
    finally:
        server.stop()
        shutil.rmtree(folder)


@contextmanager
def rival(folder: Path) -> Iterator[int | None]:
    """@tus/server's port; None where Node or the package is absent."""
    if shutil.which("node") is None or not (CLIENTS / "node_modules" / "@tus" / "server").is_dir():
        yield None
        return
    folder.mkdir()
    port = free_port()
    command = ["node", str(CLIENTS / "rival.mjs"), str(port), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield port
        finally:
            process.kill()
            shutil.rmtree(folder)


def resident(pid: int, field: str = "VmRSS") -> int:
    """Bytes of a process: now, or with VmHWM the most it ever had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def speeds(folder: Path, size: int, runs: int) -> Iterator[Speed]:
    """The best of `runs` for each server and piece, the servers taking turns."""
    with (
        stemsite(folder / "synced") as (synced, token),
        stemsite(folder / "unsynced", UPLOAD_SYNC="0") as (unsynced, other_token),
        rival(folder / "rival") as rival_port,
    ):
        ours = {"synced": (synced, token), "not synced": (unsynced, other_token)}
        for piece in PIECES:
            best: dict[str, float] = {}
            for _ in range(runs):
                for name, (server, key) in ours.items():
                    seconds, path = send(server.port, "/api/v1/uploads/", bearer(key), size, piece)
                    Wire(server, key).ask("DELETE", path)
                    best[name] = min(seconds, best.get(name, seconds))
                if rival_port is not None:
                    seconds, path = send(rival_port, "/files", {}, size, piece)
                    (folder / "rival" / path.split("/")[-1]).unlink(missing_ok=True)
                    best["@tus/server"] = min(seconds, best.get("@tus/server", seconds))
            yield from (Speed(name, piece, size, seconds) for name, seconds in best.items())


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@dataclass(frozen=True)
class Growth:
    """The web process's memory before and at most during an upload, and how long its end took."""

    size: int
    before: int
    most: int
    finish_seconds: float


def growth(folder: Path, size: int) -> Growth:
    """One upload of `size` bytes, made a track in the end. A small one before has loaded what is loaded once."""
    head = wav_bytes(1.0)
    with stemsite(folder / "growth", MAX_UPLOAD_BYTES=str(100 * GIB)) as (server, token):
        wire = Wire(server, token)
        wire.patch(wire.create(len(head)), 0, head)
        send(server.port, "/api/v1/uploads/", bearer(token), 64 * MIB, 64 * MIB)
        before = resident(server.worker_pid())
        path = wire.create(len(head) + size)
        wire.patch(path, 0, head)
        block, offset, total = random.Random(2).randbytes(MIB) * 64, len(head), len(head) + size
        while offset + len(block) < total:
            offset = int(wire.patch(path, offset, block).headers["upload-offset"])
        began = time.perf_counter()
        last = wire.patch(path, offset, block[: total - offset])
        assert last.status == 204, last
        seconds = time.perf_counter() - began
        return Growth(size, before, resident(server.worker_pid(), "VmHWM"), seconds)


def at_once(folder: Path) -> tuple[int, float]:
    """How many of 100 uploads of 20 MB at once arrived whole, and the seconds it took."""

    def upload(number: int) -> bool:
        data = wav_bytes(0.5) + random.Random(number).randbytes(AT_ONCE_BYTES)
        path = wire.create(len(data))
        answer = wire.patch(path, 0, data)
        while answer.status in (423, 503):
            time.sleep(1)
            answer = wire.ask("HEAD", path)
        track = wire.ask("GET", f"/api/v1/tracks/{answer.headers.get('stemsite-track')}/")
        return track.status == 200 and json.loads(track.body)["sha256"] == hashlib.sha256(data).hexdigest()

    with stemsite(folder / "many") as (server, token), ThreadPoolExecutor(AT_ONCE) as pool:
        wire = Wire(server, token, timeout=600)
        began = time.perf_counter()
        return sum(pool.map(upload, range(AT_ONCE))), time.perf_counter() - began


@dataclass
class Kills:
    """What became of uploads whose web process was killed."""

    uploads: int = 0
    corrupt: int = 0
    lost: int = 0


def kills(folder: Path, count: int, seed: int, show: Callable[[str], None]) -> Kills:
    """`count` uploads, each with one SIGKILL of the web process at a random moment, then resumed."""
    found, dice = Kills(), random.Random(seed)
    with stemsite(folder / "killed") as (server, token):
        wire = Wire(server, token)
        for number in range(count):
            data = wav_bytes(0.5) + dice.randbytes(KILLED_BYTES)
            path, acknowledged = wire.create(len(data)), [0]
            sender = threading.Thread(target=_send_until_gone, args=(wire, path, data, acknowledged))
            sender.start()
            time.sleep(dice.uniform(0, 0.25))
            server.kill()
            sender.join()
            server.start()
            offset = wire.offset(path)
            found.lost += offset < acknowledged[0]
            answer = wire.patch(path, offset, data[offset:])
            track = json.loads(wire.ask("GET", f"/api/v1/tracks/{answer.headers.get('stemsite-track')}/").body)
            found.corrupt += track.get("sha256") != hashlib.sha256(data).hexdigest()
            found.uploads += 1
            if number % 50 == 49:
                show(f"  {number + 1} of {count} killed and resumed")
    return found


def _send_until_gone(wire: Wire, path: str, data: bytes, acknowledged: list[int]) -> None:
    """Pieces of 256 KiB until the server is gone, and never the last byte; keeps what was acknowledged."""
    try:
        while acknowledged[0] < len(data) - 1:
            body = data[acknowledged[0] : min(acknowledged[0] + 256 * 1024, len(data) - 1)]
            acknowledged[0] = int(wire.patch(path, acknowledged[0], body).headers["upload-offset"])
    except (OSError, KeyError, IndexError, ValueError):
        return


class Report:
    """Prints each finding when it is there, and remembers whether all reach their goals."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.found: dict[str, object] = {}
        self.good = True

    def say(self, line: str) -> None:
        if not self.as_json:
            print(line, flush=True)

    def speeds(self, rows: list[Speed]) -> None:
        self.found["speeds"] = [asdict(row) for row in rows]
        rates = {(row.server, row.piece): row.rate for row in rows}
        self.say(f"{'upload of one file':34}{'8 MB pieces':>14}{'64 MB pieces':>14}")
        for name in ("synced", "not synced", "@tus/server"):
            cells = [rates.get((name, piece)) for piece in PIECES]
            self.say(f"{name:34}" + "".join(f"{c:9.0f} MB/s" if c else f"{'absent':>14}" for c in cells))
        for name, goal in (("synced", SYNCED_GOAL), ("not synced", UNSYNCED_GOAL)):
            ratios = [rates[name, p] / rates["@tus/server", p] for p in PIECES if ("@tus/server", p) in rates]
            self.good &= all(ratio >= goal for ratio in ratios)
            self.say(f"{name + ' / @tus/server':34}" + "".join(f"{r:14.2f}" for r in ratios) + f"   goal ≥ {goal:g}")

    def growth(self, memory: Growth) -> None:
        self.found["growth"] = asdict(memory)
        grown = memory.most - memory.before
        self.good &= grown <= GROWTH_GOAL
        self.say(
            f"web process over {memory.size / GIB:g} GB: {memory.before / MIB:.0f} MB before, at most "
            f"{memory.most / MIB:.0f} MB: {grown / MIB:.1f} MB more   goal ≤ 10 MB\n"
            f"its end (SHA-256, probe, storing): {memory.finish_seconds:.1f} s"
        )

    def at_once(self, whole: int, seconds: float) -> None:
        self.found["at_once"] = {"whole": whole, "seconds": seconds}
        self.good &= whole == AT_ONCE
        self.say(f"{AT_ONCE} uploads of 20 MB at once: {whole} whole, in {seconds:.1f} s")

    def kills(self, found: Kills) -> None:
        self.found["kills"] = asdict(found)
        self.good &= not found.corrupt and not found.lost
        self.say(
            f"{found.uploads} uploads killed and resumed: {found.corrupt} corrupt, {found.lost} lost committed bytes"
        )

    def end(self) -> int:
        if self.as_json:
            print(json.dumps(self.found))
        return 0 if self.good else 1


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.uploads", description=__doc__)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES)
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--speed-gigabytes", type=float, default=1.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=4, help="of the moments of the kills")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    report = Report(options.json)
    with tempfile.TemporaryDirectory(prefix="stemsite-uploads-", dir=os.environ.get("BENCH_DIR")) as name:
        folder = Path(name)
        if "speeds" in options.tables:
            report.speeds(list(speeds(folder, int(options.speed_gigabytes * GIB), options.runs)))
        if "growth" in options.tables:
            report.growth(growth(folder, int(options.gigabytes * GIB)))
        if "at_once" in options.tables:
            report.at_once(*at_once(folder))
        if "kills" in options.tables:
            report.kills(kills(folder, options.kills, options.seed, report.say))
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
