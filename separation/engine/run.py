"""One run from plan to result: scan, load, separate, write.

Owns the order of things and the arithmetic between them; each step itself is another module's.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import torch

from separation.catalog import LeanSettings, lean_settings
from separation.engine.decode import Decoder
from separation.engine.device import Executor, configure_cpu, fitting_batch, open_boundary, tune
from separation.engine.encode import Target
from separation.engine.loading import Bag, load_network
from separation.engine.networks import segment_rules
from separation.engine.outputs import Courier, StemOutput, abandon_all
from separation.engine.plan import Plan
from separation.engine.progress import Reporter
from separation.engine.scan import Scan
from separation.engine.shifts import draw_offsets, leads
from separation.engine.streaming import Final, StreamingPasses
from separation.engine.two_stems import Output, contributes, network_mixing, plan_outputs
from separation.engine.window import SlidingWindow

SEPARATING_SHARE, STAGED_SHARE = 0.98, 0.93


class Run:
    """A run of `plan` with an opened `bag`; `scanning` is the first reading, under way on another thread."""

    def __init__(self, plan: Plan, bag: Bag, scanning: Future[Scan], reporter: Reporter) -> None:
        self._plan = plan
        self._bag = bag
        self._scanning = scanning
        self._reporter = reporter
        self._boundary = open_boundary(plan.device)
        self._lean: LeanSettings = lean_settings(
            plan.options.model, plan.lean, threads=plan.threads, segment=plan.options.segment
        )
        self._effective: dict[str, Any] = configure_cpu(self._lean.threads)
        self._wanted = plan_outputs(
            bag.info.sources, plan.options, one_network_per_source=bag.info.one_network_per_source
        )
        self._mixings = [network_mixing(self._wanted, row, bag.totals) for row in bag.weights]
        self._active = [i for i, mixing in enumerate(self._mixings) if contributes(mixing)]
        self._offsets = draw_offsets(len(bag.signatures), plan.options.shifts, bag.info.sample_rate, plan.options.seed)

    def execute(self) -> dict[str, Any]:
        """Separate, and describe the outputs. On any error every file of the run is gone."""
        network = load_network(self._bag, self._bag.signatures[self._active[0]])
        self._reporter.phase("scanning")
        scan = self._scanning.result()
        outputs = [self._output(output, scan) for output in self._wanted]
        with ExitStack() as stack:
            stack.callback(abandon_all, outputs)
            self._separate(outputs, network, scan)
            described = self._finish(outputs, scan)
            stack.pop_all()
        return {"outputs": described, "offsets": self._offsets, "effective": self._facts(scan)}

    def _output(self, wanted: Output, scan: Scan) -> StemOutput:
        plan = self._plan
        path = plan.output_dir / f"{wanted.name}.{plan.extension}"
        target = Target(
            path=path,
            format=plan.options.format,
            quality=plan.options.quality,
            frames=scan.frames,
            sample_rate=self._bag.info.sample_rate,
            channels=self._bag.info.channels,
            tags=_stem_tags(plan.tags, wanted.name),
            ffmpeg=plan.ffmpeg,
        )
        rounds = sum(any(self._mixings[i][self._wanted.index(wanted)]) for i in self._active)
        return StemOutput(wanted.name, target, clip_mode=plan.options.clip_mode, rounds=rounds)

    def _separate(self, outputs: Sequence[StemOutput], network: Any, scan: Scan) -> None:
        self._reporter.phase("separating")
        share = STAGED_SHARE if any(output.staged for output in outputs) else SEPARATING_SHARE
        started = [False] * len(outputs)
        for turn, index in enumerate(self._active):
            if turn:
                network = load_network(self._bag, self._bag.signatures[index])
            self._one_network(index, network, outputs, scan, started, turn, share)
            del network

    def _one_network(
        self,
        index: int,
        network: Any,
        outputs: Sequence[StemOutput],
        scan: Scan,
        started: list[bool],
        turn: int,
        share: float,
    ) -> None:
        rules = segment_rules(network, overlap=self._plan.options.overlap, segment=self._lean.segment)
        batch = fitting_batch(self._boundary.free_bytes(), self._bag.info.segment_bytes)
        self._effective |= tune(network, self._boundary, self._plan.options.mode)
        executor = Executor(network, self._boundary, batch)
        rows = [i for i, row in enumerate(self._mixings[index]) if any(row)]
        mixing = [self._mixings[index][i] for i in rows]
        courier = Courier(self._lean.prefetch)
        with Decoder(scan.source, read_ahead=self._lean.prefetch) as decoder:
            window = SlidingWindow(iter(decoder), scan.frames, self._bag.info.channels)
            passes = StreamingPasses(
                window,
                rules,
                leads(self._offsets[index], self._bag.info.sample_rate),
                scan.normalisation,
                mixing,
                executor,
                channels=self._bag.info.channels,
                batch=batch,
            )
            for final in passes:
                self._deliver(final, rows, outputs, started, scan, window, courier)
                done = (turn + final.done / final.total) / len(self._active)
                self._reporter.progress(share * done)
            window.finish()
        courier.close()
        for row in rows:
            outputs[row].end_round()
            started[row] = True
        self._record(rules.segment, executor)

    def _deliver(
        self,
        final: Final,
        rows: Sequence[int],
        outputs: Sequence[StemOutput],
        started: Sequence[bool],
        scan: Scan,
        window: SlidingWindow,
        courier: Courier,
    ) -> None:
        samples = final.samples.mul_(scan.normalisation.std)
        for row, stem in zip(rows, samples, strict=True):
            wanted = self._wanted[row]
            if not started[row]:
                stem += scan.normalisation.mean * sum(wanted.sources)
                if wanted.mixture:
                    mixture = window.view(final.position, final.position + stem.shape[-1])
                    stem += wanted.mixture * torch.from_numpy(mixture)
            frames = np.ascontiguousarray(stem.numpy().T)
            courier.send(partial(outputs[row].deliver, final.position, frames))

    def _finish(self, outputs: Sequence[StemOutput], scan: Scan) -> list[dict[str, Any]]:
        self._reporter.phase("finishing")
        whole = scan.frames * len(outputs)
        written = 0

        def on_frames(count: int) -> None:
            nonlocal written
            written += count
            self._reporter.progress(STAGED_SHARE + (1 - STAGED_SHARE) * written / whole)

        return [output.finish(on_frames) for output in outputs]

    def _record(self, segment: int, executor: Executor) -> None:
        self._effective["segment_samples"] = segment
        self._effective["device"] = executor.boundary.name
        self._effective["batch"] = executor.batch
        if executor.steps:
            self._effective.setdefault("device_steps", []).extend(executor.steps)

    def _facts(self, scan: Scan) -> dict[str, Any]:
        return {
            **self._effective,
            "mode": self._plan.options.mode,
            "lean": self._plan.lean,
            "networks": [self._bag.signatures[i] for i in self._active],
            "samples": scan.frames,
            "truncated_input": scan.truncated,
            "mean": scan.normalisation.mean,
            "std": scan.normalisation.std,
        }


def _stem_tags(tags: dict[str, str], stem: str) -> dict[str, str]:
    title = tags.get("title")
    return {**tags, "title": f"{title} - {stem}"} if title else dict(tags)
