"""The loop: segments of a sliding window through a network into a sliding sum, for a track of any length.

Gives the samples that `demucs.apply.apply_model` gives, in order, each stretch as soon as it is final; what it
holds depends on the segment length only. All shifted passes advance together, so they share one sum. Does
not decode, normalise statistics, load networks or write anything.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from separation.engine.networks import SegmentRules
from separation.engine.overlap import OverlapAdd, TransitionWeights
from separation.engine.statistics import Normalisation
from separation.engine.window import SlidingWindow

Mixing = Sequence[Sequence[float]]
RunAll = Callable[[Iterable[torch.Tensor]], Iterator[torch.Tensor]]


@dataclass(frozen=True, order=True)
class Job:
    """One segment of one pass. `position` is where it starts on the track; negative within a pass's lead."""

    position: int
    pass_index: int
    offset: int
    length: int


@dataclass(frozen=True)
class Final:
    """A finished stretch of the track: `samples` (outputs, channels, n) from `position` on, the receiver's to change
    until it asks for the next."""

    position: int
    samples: torch.Tensor
    done: int
    total: int


def pass_jobs(length: int, lead: int, rules: SegmentRules, index: int = 0) -> Iterator[Job]:
    """The segments of a pass with `lead` zeros before a track of `length` samples."""
    whole = length + lead
    for offset in range(0, whole, rules.stride):
        yield Job(offset - lead, index, offset, min(rules.segment, whole - offset))


def count_jobs(length: int, leads: Sequence[int], rules: SegmentRules) -> int:
    """How many segments all passes have together."""
    return sum(-(-(length + lead) // rules.stride) for lead in leads)


class StreamingPasses:
    """All passes of one network over one track.

    `window` holds the raw track; `mixing[output][source]` says what each output takes from each of the
    network's sources. `run` takes batches (batch, channels, n), perhaps a few ahead, and gives (batch, sources,
    channels, n) for each, in order, on the CPU.
    """

    def __init__(
        self,
        window: SlidingWindow,
        rules: SegmentRules,
        leads: Sequence[int],
        normalisation: Normalisation,
        mixing: Mixing,
        run: RunAll,
        *,
        channels: int = 2,
        batch: int = 1,
    ) -> None:
        self._window = window
        self._rules = rules
        self._leads = leads
        self._normalisation = normalisation
        self._mixing = [[factor / len(leads) for factor in row] for row in mixing]
        self._run = run
        self._batch = max(1, batch)
        capacity = rules.segment + max(leads) + self._batch * rules.stride
        self._sum = OverlapAdd(len(mixing), channels, capacity)
        self._weights = [TransitionWeights(rules.segment, rules.stride, window.length + lead) for lead in leads]

    def __iter__(self) -> Iterator[Final]:
        """Finished stretches, in order, without gaps, up to the track's length."""
        total = count_jobs(self._window.length, self._leads, self._rules)
        done, taken = 0, 0
        for group, frontier, outputs in self._computed():
            for job, output in zip(group, outputs, strict=True):
                self._add(job, output)
            del outputs, output  # not kept while the next segment is computed
            done += len(group)
            if frontier > taken:
                yield Final(taken, self._sum.finished(frontier), done, total)
                self._sum.forget(frontier)
                taken = frontier
            self._window.forget(frontier - self._rules.longest_input)

    def _computed(self) -> Iterator[tuple[list[Job], int, torch.Tensor]]:
        """Each group with the position from which on sums are not final, and what the network makes of it."""
        begun: deque[tuple[list[Job], int]] = deque()

        def inputs() -> Iterator[torch.Tensor]:
            for group, frontier in self._groups():
                begun.append((group, frontier))
                yield torch.from_numpy(np.stack([self._input(job) for job in group]))

        for outputs in self._run(inputs()):
            yield (*begun.popleft(), outputs)
            del outputs

    def _groups(self) -> Iterator[tuple[list[Job], int]]:
        """The jobs of all passes by position, as many together as can run as one batch; and where the next begins."""
        length = self._window.length
        passes = [pass_jobs(length, lead, self._rules, i) for i, lead in enumerate(self._leads)]
        group: list[Job] = []
        for job in heapq.merge(*passes):
            if group and not self._joins(job, group):
                yield group, max(0, job.position)
                group = []
            group.append(job)
        if group:
            yield group, length

    def _joins(self, job: Job, group: Sequence[Job]) -> bool:
        sizes = [self._rules.input_length(other.length) for other in (job, group[0])]
        return len(group) < self._batch and sizes[0] == sizes[1]

    def _input(self, job: Job) -> NDArray[np.float32]:
        """The job's audio, normalised, with real context on both sides and zeros only outside the track."""
        size = self._rules.input_length(job.length)
        start = job.position - (size - job.length) // 2
        audio = self._window.read(start, start + size)
        first, last = max(0, -start), min(size, self._window.length - start)
        if first < last:
            inside = audio[:, first:last]
            inside -= np.float32(self._normalisation.mean)
            inside /= np.float32(self._normalisation.std)
        return audio

    def _add(self, job: Job, output: torch.Tensor) -> None:
        skipped = (output.shape[-1] - job.length) // 2
        segment = output[..., skipped : skipped + job.length]
        weights = torch.from_numpy(self._weights[job.pass_index].at(job.offset))
        self._sum.add(job.position, segment, weights, self._mixing)
