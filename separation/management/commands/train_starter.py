"""`manage.py train_starter`: trains the starter model on synthesised songs and writes its weights."""

import os
import sys
from argparse import ArgumentParser
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from separation.starter.training import Progress, Recipe, Source


class Command(BaseCommand):
    help = "Train the starter model; an interrupted run goes on with --resume. Writes OUT/weights."

    def run_from_argv(self, argv: list[str]) -> None:
        """In the engine's environment: a step takes a fifth less time where malloc keeps its memory."""
        from separation.engine.environment import restart_with_environment

        restart_with_environment([sys.executable, *sys.orig_argv[1:]])
        super().run_from_argv(argv)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--out", type=Path, required=True, help="folder for clips, checkpoint and weights")
        parser.add_argument("--from", type=Path, dest="start", help="folder of weights to begin from, of any size")
        parser.add_argument("--waveform", type=Path, help="with --from: folder of weights for the waveform branch")
        parser.add_argument(
            "--redraw",
            nargs="+",
            default=(),
            metavar="PART",
            help="parts to draw at random again (decoder.0)",
        )
        parser.add_argument("--resume", action="store_true", help="go on from OUT/checkpoint.pt")
        parser.add_argument("--install", action="store_true", help="replace the bundled weights with the result")
        songs = parser.add_argument_group("songs")
        songs.add_argument("--clips", type=int, default=1200, help="songs to make, 5.6 MB each (default 1200)")
        songs.add_argument("--first", type=int, default=100_000, help="seed of the first song (default 100000)")
        songs.add_argument("--few-changes", action="store_true", help="remix and alter less, to end a training with")
        songs.add_argument(
            "--workers", type=int, help="processes that make songs (default: all cores; two less on a GPU)"
        )
        recipe = parser.add_argument_group("recipe")
        recipe.add_argument("--steps", type=int, default=1500, help="train for so many steps (default 1500)")
        recipe.add_argument("--minutes", type=float, help="train for so long, whatever the number of steps")
        recipe.add_argument("--batch", type=int, default=4)
        recipe.add_argument(
            "--seconds", type=float, help="length of an example, at most 6 (default: the network's segment)"
        )
        recipe.add_argument("--rate", type=float, default=3e-3, help="highest learning rate (default 0.003)")
        recipe.add_argument("--warmup", type=int, default=60, help="steps until it is reached (default 60)")
        recipe.add_argument("--decay", type=float, default=0.998, help="of the weights' average (default 0.998)")
        recipe.add_argument("--seed", type=int, default=0)
        recipe.add_argument(
            "--emphasis",
            type=float,
            nargs=4,
            default=(1, 1, 1, 1),
            metavar=("DRUMS", "BASS", "OTHER", "VOCALS"),
            help="weights of the stems in what is lowered (default 1 each)",
        )
        recipe.add_argument("--only", nargs="+", default=(), metavar="PART", help="parts that learn (default: all)")
        machine = parser.add_argument_group("machine")
        machine.add_argument("--device", default="cpu", help="cpu or cuda")
        machine.add_argument("--threads", type=int, help="CPU threads, at most one an example (default: all cores)")
        machine.add_argument("--float32", action="store_true", help="no bfloat16: faster on a CPU that lacks it")

    def handle(self, **options: Any) -> None:
        from separation.engine.device import open_boundary
        from separation.engine.errors import EngineError
        from separation.starter import export, health, loading, revival, training

        try:
            recipe = self._recipe(options)
            training.prepare(recipe.seed, recipe.parts)
            open_boundary(recipe.device)
            examples = health.examples(recipe.seconds)
            network = loading.first_network(options["start"], options["waveform"])
            if options["redraw"]:
                network = revival.redrawn(network, options["redraw"], examples.sum(dim=1))
            precise = training.precise(recipe, network, examples)
            if precise != recipe:
                self._say("Training in float32: this machine's gradients in bfloat16 are others")
            trainer = training.Trainer(network, precise)
            if options["resume"]:
                trainer.restore(options["out"] / training.CHECKPOINT)
            if options["resume"] or not options["redraw"]:
                self._say_idle(health.idle(trainer.network, examples.to(recipe.device)))
            with self._songs(options) as songs:
                trainer.run(songs, options["out"], self._report)
            self._say_idle(health.idle(trainer.network.cpu(), examples))
            folder = export.WEIGHTS if options["install"] else options["out"] / "weights"
            self._say(f"Wrote {export.export(trainer.average.state_dict(), folder)}")
        except (training.CheckpointError, EngineError, OSError, ValueError) as error:
            raise CommandError(str(error)) from error

    def _recipe(self, options: dict[str, Any]) -> "Recipe":
        from separation.starter.training import Recipe

        names = ("steps", "minutes", "batch", "seconds", "rate", "warmup", "decay", "seed", "device")
        parts = min(options["threads"] or os.cpu_count() or 1, options["batch"]) if options["device"] == "cpu" else 1
        given = {name: options[name] for name in names if options[name] is not None}
        given |= {name: tuple(options[name]) for name in ("emphasis", "only")}
        return Recipe(**given, half=not options["float32"], parts=parts)

    def _say_idle(self, parts: list[str]) -> None:
        for part in parts:
            self._say(f"Nothing is learnt in {part}: no gradient reaches a matrix of it (--redraw begins it anew)")

    @contextmanager
    def _songs(self, options: dict[str, Any]) -> "Iterator[Source]":
        """All songs, made before the training; on a GPU, those there are, while more are made."""
        from separation.starter import data, pool

        cores = os.cpu_count() or 1
        changes = data.FEW if options["few_changes"] else data.MANY
        if options["device"] == "cpu":
            clips = data.Clips(options["out"] / "clips", options["clips"], first=options["first"], changes=changes)
            clips.render(self._report_clip, options["workers"] or cores)
            yield clips
            return
        folder, workers = options["out"] / f"altered-{changes.altered}", options["workers"] or max(1, cores - 2)
        clips = data.Clips(folder, options["clips"], first=options["first"], changes=changes, altered=True)
        with pool.filling(clips, options["device"], workers, self._report_clip) as songs:
            yield songs

    def _report_clip(self, left: int) -> None:
        if left % 50 == 0:
            self._say(f"{left} songs to make")

    def _report(self, progress: "Progress") -> None:
        done = f"step {progress.step}  {progress.elapsed / 60:.1f} min  {100 * progress.done:.0f} %"
        self._say(f"{done}  loss {progress.loss:.5f}")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
