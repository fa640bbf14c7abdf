"""One run from plan to result: scan, load, separate, write.

Owns the order of things and the arithmetic between them; each step itself is another module's.
"""

from __future__ import annotations

import gc
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import torch

from separation.catalog import lean_settings
from separation.engine.decode import Decoder
from separation.engine.device import Executor, configure_cpu, fitting_batch, open_boundary, tune
from separation.engine.encode import Target
from separation.engine.lanes import Lanes
from separation.engine.loading import Bag, load_network
from separation.engine.networks import SegmentRules, segment_rules
from separation.engine.outputs import Courier, Finisher, StemOutput, abandon_all
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
        options, info = plan.options, bag.info
        self._plan = plan
        self._bag = bag
        self._scanning = scanning
        self._reporter = reporter
        self._boundary = open_boundary(plan.device)
        self._lean = lean_settings(options.model, plan.lean, threads=plan.threads, segment=options.segment)
        self._effective: dict[str, Any] = configure_cpu(self._lean.threads)
        self._wanted = plan_outputs(info.sources, options, one_network_per_source=info.one_network_per_source)
        self._mixings = [network_mixing(self._wanted, row, bag.totals) for row in bag.weights]
        self._active = [i for i, mixing in enumerate(self._mixings) if contributes(mixing)]
        self._offsets = draw_offsets(len(bag.signatures), options.shifts, info.sample_rate, options.seed)

    def execute(self) -> dict[str, Any]:
        """Separate, and describe the outputs. On any error every file of the run is gone."""
        loaded = [self._load(self._active[0])]
        self._reporter.phase("scanning")
        scan = self._scanning.result()
        outputs: list[StemOutput] = []
        with ExitStack() as stack:
            stack.callback(abandon_all, outputs)
            for wanted in self._wanted:
                outputs.append(self._output(wanted, scan))
            self._separate(outputs, loaded, scan)
            described = self._finish(outputs, scan)
            stack.pop_all()
        return {"outputs": described, "offsets": self._offsets, "effective": self._facts(scan)}

    def _load(self, index: int) -> Any:
        return load_network(self._bag, self._bag.signatures[index])

    def _output(self, wanted: Output, scan: Scan) -> StemOutput:
        plan, info = self._plan, self._bag.info
        target = Target(
            path=plan.output_dir / f"{wanted.name}.{plan.extension}",
            format=plan.options.format,
            quality=plan.options.quality,
            frames=scan.frames,
            sample_rate=info.sample_rate,
            channels=info.channels,
            tags=_stem_tags(plan.tags, wanted.name),
            ffmpeg=plan.ffmpeg,
        )
        row = self._wanted.index(wanted)
        rounds = sum(any(self._mixings[i][row]) for i in self._active)
        return StemOutput(wanted.name, target, clip_mode=plan.options.clip_mode, rounds=rounds)

    def _separate(self, outputs: Sequence[StemOutput], loaded: list[Any], scan: Scan) -> None:
        """All networks that contribute, one after the other: only one is in memory at a time.

        `loaded` holds the first, and is empty afterwards: a caller that kept it would keep it in memory to the end.
        """
        self._reporter.phase("separating")
        share = STAGED_SHARE if any(output.staged for output in outputs) else SEPARATING_SHARE
        for turn, index in enumerate(self._active):
            rules, executor = self._prepared(loaded.pop() if loaded else self._load(index))
            with closing(self._one_network(index, rules, executor, outputs, scan)) as stretches:
                for done in stretches:
                    self._reporter.progress(share * (turn + done) / len(self._active))
            self._record(rules, executor)
            del rules, executor
            gc.collect()  # the network refers to itself where a kernel is its method: gone before the next is loaded

    def _prepared(self, network: Any) -> tuple[SegmentRules, Executor]:
        info = self._bag.info
        rules = segment_rules(network, overlap=self._plan.options.overlap, segment=self._lean.segment)
        batch = fitting_batch(self._boundary.free_bytes(), info.segment_bytes, rules.segment / info.sample_rate)
        self._effective |= tune(network, self._boundary, self._plan.options.mode)
        return rules, Executor(network, self._boundary, batch)

    def _one_network(
        self, index: int, rules: SegmentRules, executor: Executor, outputs: Sequence[StemOutput], scan: Scan
    ) -> Generator[float]:
        """One network over the whole track; yields how much of it is done."""
        info, rows = self._bag.info, self._mixings[index]
        fed = [i for i, row in enumerate(rows) if any(row)]
        with (
            Courier(self._lean.prefetch) as courier,
            Decoder(scan.source, read_ahead=self._lean.prefetch) as decoder,
            Lanes(self._lean.lanes if self._boundary.name == "cpu" else 1, self._lean.threads) as lanes,
        ):
            window = SlidingWindow(iter(decoder), scan.frames, info.channels)
            passes = StreamingPasses(
                window,
                rules,
                leads(self._offsets[index], info.sample_rate),
                scan.normalisation,
                [rows[i] for i in fed],
                partial(lanes.map, executor),
                channels=info.channels,
                batch=executor.batch,
            )
            for final in passes:
                for stem, samples in zip(fed, final.samples, strict=True):
                    self._finished(stem, outputs[stem], samples, final, scan, window)
                    frames = courier.copied(samples.numpy().T)
                    courier.send(partial(outputs[stem].deliver, final.position, frames))
                yield final.done / final.total
            window.finish()
        for stem in fed:
            outputs[stem].end_round()

    def _finished(
        self, stem: int, output: StemOutput, samples: torch.Tensor, final: Final, scan: Scan, window: SlidingWindow
    ) -> None:
        """Bring samples (channels, n) to the track's own level; mean and mixture come with the first network."""
        wanted = self._wanted[stem]
        samples.mul_(scan.normalisation.std)
        if output.first_round:
            samples += scan.normalisation.mean * sum(wanted.sources)
            if wanted.mixture:
                mixture = window.view(final.position, final.position + samples.shape[-1])
                samples += wanted.mixture * torch.from_numpy(mixture)

    def _finish(self, outputs: Sequence[StemOutput], scan: Scan) -> list[dict[str, Any]]:
        self._reporter.phase("finishing")
        whole = scan.frames * len(outputs)
        written = 0

        def on_frames(count: int) -> None:
            nonlocal written
            written += count
            self._reporter.progress(STAGED_SHARE + (1 - STAGED_SHARE) * written / whole)

        described = Finisher(self._lean.threads, on_frames).finish(outputs)
        self._reporter.progress(1.0)
        return described

    def _record(self, rules: SegmentRules, executor: Executor) -> None:
        self._effective["segment_samples"] = rules.segment
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
