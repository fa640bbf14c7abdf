"""From finished stretches to files: staging, clipping and encoding of all outputs of a run.

Owns the set of open writers and stages, and that a failed run leaves none of its files. Works on whichever thread
calls it; `Courier` gives it one of its own so that writing overlaps with computing, within a bounded queue.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from separation.engine import clip
from separation.engine.encode import StemWriter, Target, open_writer
from separation.engine.staging import Stage

Samples = NDArray[np.float32]


class StemOutput:
    """One output. `rounds` networks will each deliver all of it; their deliveries are added up."""

    def __init__(self, name: str, target: Target, *, clip_mode: str, rounds: int) -> None:
        self.name = name
        self._target = target
        self._clip_mode = clip_mode
        self._round = 0
        self._frames = 0
        self._stage: Stage | None = None
        self._writer: StemWriter | None = None
        if rounds > 1 or clip.needs_peak(clip_mode):
            self._stage = Stage(target.path.with_name(target.path.name + ".f32.part"), target.channels)

    @property
    def staged(self) -> bool:
        """Whether writing waits for `finish`."""
        return self._stage is not None

    @property
    def first_round(self) -> bool:
        """Whether the network delivering now is the first."""
        return self._round == 0

    def deliver(self, position: int, samples: Samples) -> None:
        """Samples (frames, channels) from `position` on; positions run through the track once a round."""
        finite = np.nan_to_num(samples, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        if self._stage is not None:
            self._stage.write(position, finite, add=self._round > 0)
        else:
            self._write(finite)

    def end_round(self) -> None:
        """A network has delivered all it has for this output."""
        self._round += 1

    def finish(self, on_frames: Callable[[int], None]) -> dict[str, Any]:
        """Encode what was staged, close the file, and describe it."""
        if self._stage is not None:
            for samples in self._stage.read():
                self._write(samples, self._stage.peak)
                on_frames(len(samples))
            self._stage.remove()
        assert self._writer is not None
        digests = self._writer.close()
        self._writer = None
        shape = {"sample_rate": self._target.sample_rate, "channels": self._target.channels}
        return {"stem": self.name, "file": self._target.path.name, **asdict(digests), "samples": self._frames, **shape}

    def abandon(self) -> None:
        """End the encoder and delete every file of this output."""
        if self._writer is not None:
            self._writer.abandon()
        if self._stage is not None:
            self._stage.remove()
        self._target.path.unlink(missing_ok=True)

    def _write(self, samples: Samples, peak: float = 0.0) -> None:
        if self._writer is None:
            self._writer = open_writer(self._target)
        self._writer.write(clip.apply(self._clip_mode, samples, peak))
        self._frames += len(samples)


class Courier:
    """Carries work to a thread of its own, at most `depth` items ahead; errors come back at a later call.

    With `depth` 0 everything is done at once, in the caller's thread. Use as a context manager: leaving it waits for
    what was sent, or, after an error, drops what has not begun (`dropped`); nothing is at work afterwards.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._pool = ThreadPoolExecutor(1, "writer") if depth else None
        self._sent: deque[Future[None]] = deque()
        self._slots = [np.empty(0, np.float32)] * (depth + 2)
        self._turn = 0
        self._sound = True
        self.dropped = False

    def __enter__(self) -> Courier:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.dropped = kind is not None
        if self._pool is not None:
            self._pool.shutdown()
        while self._sent and not self.dropped:
            self._sent.popleft().result()

    def copied(self, samples: Samples) -> Samples:
        """A contiguous copy for the next work sent, in one of a few buffers that take turns.

        Memory that one thread takes and another gives back would leave holes between the networks' tensors.
        """
        self._turn = (self._turn + 1) % len(self._slots)
        if self._slots[self._turn].size < samples.size:
            self._slots[self._turn] = np.empty(samples.size, np.float32)
        copy = self._slots[self._turn][: samples.size].reshape(samples.shape)
        copy[...] = samples
        return copy

    def send(self, work: Callable[[], None]) -> None:
        """Do `work` soon, after all that was sent before. Raises the error of earlier work."""
        if self._pool is None:
            work()
            return
        self._sent.append(self._pool.submit(self._carry, work))
        if len(self._sent) > self._depth + 1:
            self._sent.popleft().result()

    def _carry(self, work: Callable[[], None]) -> None:
        """Nothing is begun after work that has failed."""
        if self._sound and not self.dropped:
            self._sound = False
            work()
            self._sound = True


class Finisher:
    """Finishes outputs, `threads` at a time. `on_frames` hears of frames encoded, one thread at a time."""

    def __init__(self, threads: int, on_frames: Callable[[int], None]) -> None:
        self._threads = threads
        self._on_frames = on_frames
        self._lock = threading.Lock()
        self._error: BaseException | None = None

    def finish(self, outputs: Sequence[StemOutput]) -> list[dict[str, Any]]:
        """The outputs' descriptions. Raises the first error of any; the others then stop at their next window."""
        with ThreadPoolExecutor(self._threads, "finisher") as pool:
            described = [pool.submit(self._one, output) for output in outputs]
        if self._error is not None:
            raise self._error
        return [each.result() for each in described]

    def _one(self, output: StemOutput) -> dict[str, Any]:
        if self._error is not None:
            return {}
        try:
            return output.finish(self._hear)
        except BaseException as error:
            self._error = self._error or error
            raise

    def _hear(self, frames: int) -> None:
        with self._lock:
            if self._error is not None:
                raise self._error
            self._on_frames(frames)


def abandon_all(outputs: Sequence[StemOutput]) -> None:
    """Leave nothing of a failed run."""
    for output in outputs:
        output.abandon()
