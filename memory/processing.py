"""Working through a file of any size, one window at a time. Owns windows; what is done with one is the caller's."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar
from uuid import uuid4

from memory.conf import memory_settings
from memory.streaming import Readable, StreamingFileHandler

Transform = Callable[[bytes], bytes]
State = TypeVar("State")


class Writable(Protocol):
    """Anything with a file's `write`; it takes all it is given."""

    def write(self, data: bytes, /) -> object: ...


class MemoryEfficientProcessor:
    """Reads `window_bytes` at a time, rounded down to whole items of `item_bytes`, and holds one window.

    A source may give less than asked for at a time; windows are full all the same, except the last.
    """

    def __init__(self, window_bytes: int | None = None, *, item_bytes: int = 1) -> None:
        window = window_bytes or memory_settings().streaming_chunk_size
        if item_bytes < 1 or window < item_bytes:
            raise ValueError(f"a window of {window} bytes holds no item of {item_bytes}")
        self.window_bytes = window // item_bytes * item_bytes
        self.item_bytes = item_bytes

    def windows(self, source: Readable) -> Iterator[bytes]:
        """All of `source`, in windows.

        Raises:
            ValueError: it ends within an item.
        """
        while window := self._fill(source):
            if len(window) % self.item_bytes:
                raise ValueError(f"the source ends within an item: {len(window) % self.item_bytes} bytes left over")
            yield window

    def _fill(self, source: Readable) -> bytes:
        window = bytearray()
        while len(window) < self.window_bytes and (part := source.read(self.window_bytes - len(window))):
            window += part
        return bytes(window)

    def process(self, source: Readable, sink: Writable, transform: Transform) -> int:
        """Write `transform(window)` to `sink` for every window of `source`; returns the bytes written."""
        written = 0
        for window in self.windows(source):
            result = transform(window)
            sink.write(result)
            written += len(result)
        return written

    def reduce(self, source: Readable, state: State, step: Callable[[State, bytes], State]) -> State:
        """`step` applied to every window of `source` in turn, each time to what it gave before."""
        for window in self.windows(source):
            state = step(state, window)
        return state

    def process_file(self, source: Path, target: Path, transform: Transform) -> int:
        """`process` from file to file. `target` appears when it is complete and on disk; if anything fails, what
        was there before is still there and nothing else is."""
        temp = target.with_name(f".{target.name}.{uuid4().hex}.part")
        try:
            with source.open("rb") as reading, temp.open("xb") as writing:
                written = self.process(reading, writing, transform)
            StreamingFileHandler(self.window_bytes).publish(temp, target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                temp.unlink()
            raise
        return written
