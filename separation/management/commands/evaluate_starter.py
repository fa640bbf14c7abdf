"""`manage.py evaluate_starter`: prints what the starter model reaches on songs it was not trained on."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from separation.engine.errors import EngineError

if TYPE_CHECKING:
    from separation.starter.evaluation import Row
    from separation.starter.synthesis.signal import Signal


class Command(BaseCommand):
    help = "Measure the starter model: SI-SDR and SDR of each stem, the mixture's, and the gain."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--songs", type=int, default=20, help="songs in each set (default 20)")
        parser.add_argument("--seconds", type=float, default=20.0, help="length of a song (default 20)")
        parser.add_argument("--set", dest="sets", action="append", choices=["acceptance", "withheld", "validation"])
        parser.add_argument("--folder", type=Path, help="measure other material: a folder of folders of stem WAVs")
        parser.add_argument("--dispersed", action="store_true", help="give every stem other phases first")
        parser.add_argument(
            "--bound",
            type=int,
            metavar="WINDOW",
            help="instead of a network: the most one can reach with the mixture's phases and such a window (samples)",
        )
        parser.add_argument("--weights", type=Path, help="a folder with other weights than the bundled ones")

    def handle(self, **options: Any) -> None:
        from separation.starter import evaluation

        try:
            measure = _measure(options)
            for title, songs in _material(options):
                self.stdout.write(f"{title}\n{evaluation.table(measure(songs))}\n")
        except (EngineError, OSError, ValueError) as error:
            raise CommandError(str(error)) from error


def _material(options: Mapping[str, Any]) -> Iterator[tuple[str, Iterable[Signal]]]:
    """Each table's title, and its songs as stems."""
    from separation.starter import evaluation, outside

    heard = evaluation.with_other_phases if options["dispersed"] else iter
    if options["folder"]:
        yield str(options["folder"]), heard(outside.stem_folders(options["folder"]))
        return
    for name in options["sets"] or ["acceptance", "withheld"]:
        title = f"{name}: {options['songs']} songs of {options['seconds']:g} s"
        title += ", dispersed" if options["dispersed"] else ""
        title += f", bound with a window of {options['bound']}" if options["bound"] is not None else ""
        yield title, heard(evaluation.songs(name, options["songs"], options["seconds"]))


def _measure(options: Mapping[str, Any]) -> Callable[[Iterable[Signal]], list[Row]]:
    """What makes a table's rows of songs: the network, or the bound."""
    from separation.starter import evaluation, loading
    from separation.starter.bounds import with_the_mixtures_phases

    window = options["bound"]
    if window is not None:
        return lambda songs: evaluation.compare((with_the_mixtures_phases(stems, window), stems) for stems in songs)
    return partial(evaluation.evaluate, evaluation.separator(loading.load_starter(options["weights"])))
