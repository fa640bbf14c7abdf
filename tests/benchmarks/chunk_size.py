"""What STREAMING_CHUNK_SIZE costs and gains: `python -m tests.benchmarks.chunk_size`.

Each size streams the same file through `StreamingFileHandler`: received (from a socket, as an upload arrives),
hashed and read back (as a download leaves). Best of several runs, in the page cache, so that the disk is not what
is measured. Memory is the most that one run of all three held in Python objects.
"""

import argparse
import socket
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from memory.quantities import KIB, MIB, format_bytes
from memory.streaming import StreamingFileHandler

BLOCK = bytes(MIB)
SIZES = (8 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB)


@dataclass(frozen=True)
class Row:
    """Bytes per second for each use of one chunk size, and bytes held."""

    chunk: int
    receive: float
    sha256: float
    read: float
    held: int


def measure(sizes: Sequence[int], total: int, runs: int, folder: Path) -> Iterator[Row]:
    """The sizes take turns, so that what else the machine does meets all of them."""
    with (folder / "source").open("wb") as file:
        file.writelines(BLOCK for _ in range(total // MIB))
    uses = {size: _uses(StreamingFileHandler(size), total, folder) for size in sizes}
    seconds: dict[int, list[list[float]]] = {size: [] for size in sizes}
    for _ in range(runs):
        for size in sizes:
            seconds[size].append([_seconds(use) for use in uses[size]])
    for size in sizes:
        best = [total / min(column) for column in zip(*seconds[size], strict=True)]
        yield Row(size, *best, held=_held(uses[size]))


def _uses(handler: StreamingFileHandler, total: int, folder: Path) -> list[Callable[[], object]]:
    source = folder / "source"
    return [
        lambda: _receive(handler, total, folder / "target"),
        lambda: handler.sha256(source),
        lambda: sum(map(len, handler.iter_range(source.open("rb", buffering=0), 0, total))),
    ]


def _receive(handler: StreamingFileHandler, total: int, target: Path) -> None:
    target.unlink(missing_ok=True)
    near, far = socket.socketpair()
    sender = threading.Thread(target=_send, args=(far, total))
    sender.start()
    with near, near.makefile("rb", buffering=0) as body:
        handler.append(body, target, offset=0, limit=total)
    sender.join()


def _send(end: socket.socket, total: int) -> None:
    with end:
        for _ in range(total // MIB):
            end.sendall(BLOCK)


def _seconds(use: Callable[[], object]) -> float:
    before = time.perf_counter()
    use()
    return time.perf_counter() - before


def _held(uses: Sequence[Callable[[], object]]) -> int:
    tracemalloc.start()
    try:
        for use in uses:
            use()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def show(rows: Iterator[Row], write: Callable[[str], object] = print) -> None:
    write(f"{'chunk':>8} {'receive':>12} {'sha256':>12} {'read':>12} {'held':>8}")
    for row in rows:
        rates = " ".join(f"{rate / MIB:>7.0f} MB/s" for rate in (row.receive, row.sha256, row.read))
        write(f"{format_bytes(row.chunk):>8} {rates} {format_bytes(row.held):>8}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where the files are (default: memory)")
    arguments = parser.parse_args()
    folder = arguments.folder if arguments.folder.is_dir() else None
    with tempfile.TemporaryDirectory(dir=folder) as made:
        show(measure(SIZES, arguments.megabytes * MIB, arguments.runs, Path(made)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
