"""`manage.py train_starter`: trains the starter model on synthesised songs and writes its weights."""

import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

if TYPE_CHECKING:
    from separation.starter.training import Progress


class Command(BaseCommand):
    help = "Train the starter model; an interrupted run goes on with --resume. Writes OUT/weights."

    def run_from_argv(self, argv: list[str]) -> None:
        """In the engine's environment: a step takes a fifth less time where malloc keeps its memory."""
        from separation.engine.environment import restart_with_environment

        restart_with_environment([sys.executable, *sys.orig_argv[1:]])
        super().run_from_argv(argv)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--out", type=Path, required=True, help="folder for clips, checkpoint and weights")
        parser.add_argument("--steps", type=int, default=1500, help="train for so many steps (default 1500)")
        parser.add_argument("--minutes", type=float, help="train for so long, whatever the number of steps")
        parser.add_argument("--clips", type=int, default=1200, help="songs to make, 5.6 MB each (default 1200)")
        parser.add_argument("--batch", type=int, default=4)
        parser.add_argument("--seconds", type=float, default=3.0, help="length of an example, at most 6 (default 3)")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--device", default="cpu", help="cpu or cuda")
        parser.add_argument("--threads", type=int, help="CPU threads, at most one an example (default: all cores)")
        parser.add_argument("--float32", action="store_true", help="no bfloat16: faster on a CPU that lacks it")
        parser.add_argument("--from", type=Path, dest="start", help="folder of weights to begin from, not from chance")
        parser.add_argument("--resume", action="store_true", help="go on from OUT/checkpoint.pt")
        parser.add_argument("--install", action="store_true", help="replace the bundled weights with the result")

    def handle(self, **options: Any) -> None:
        from separation.engine.errors import EngineError
        from separation.starter import data, export, loading, training

        names = ("steps", "minutes", "batch", "seconds", "seed", "device")
        parts = min(options["threads"] or os.cpu_count() or 1, options["batch"]) if options["device"] == "cpu" else 1
        recipe = training.Recipe(**{name: options[name] for name in names}, half=not options["float32"], parts=parts)
        clips, out = data.Clips(options["out"] / "clips", options["clips"]), options["out"]
        training.prepare(recipe.seed, parts)
        try:
            trainer = training.Trainer(loading.first_network(options["start"]), recipe)
            if options["resume"]:
                trainer.restore(out / training.CHECKPOINT)
            clips.render(self._report_clip)
            trainer.run(clips, out, self._report)
            folder = export.WEIGHTS if options["install"] else out / "weights"
            self._say(f"Wrote {export.export(trainer.average.state_dict(), folder)}")
        except (training.CheckpointError, EngineError, OSError, ValueError) as error:
            raise CommandError(str(error)) from error

    def _report_clip(self, left: int) -> None:
        if left % 50 == 0:
            self._say(f"{left} songs to make")

    def _report(self, progress: "Progress") -> None:
        done = f"step {progress.step}  {progress.elapsed / 60:.1f} min  {100 * progress.done:.0f} %"
        self._say(f"{done}  loss {progress.loss:.5f}")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
