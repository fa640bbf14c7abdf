"""`manage.py evaluate_starter`: prints what the starter model reaches on songs it was not trained on."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from separation.engine.errors import EngineError


class Command(BaseCommand):
    help = "Measure the starter model: SI-SDR and SDR of each stem, the mixture's, and the gain."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--songs", type=int, default=20, help="songs in each set (default 20)")
        parser.add_argument("--seconds", type=float, default=20.0, help="length of a song (default 20)")
        parser.add_argument("--set", dest="sets", action="append", choices=["acceptance", "withheld", "validation"])
        parser.add_argument("--folder", type=Path, help="measure other material: a folder of folders of stem WAVs")
        parser.add_argument("--dispersed", action="store_true", help="give every stem other phases first")
        parser.add_argument("--weights", type=Path, help="a folder with other weights than the bundled ones")

    def handle(self, **options: Any) -> None:
        from separation.starter import evaluation, loading, outside

        try:
            separate = evaluation.separator(loading.load_starter(options["weights"]))
            heard = evaluation.with_other_phases if options["dispersed"] else iter
            if options["folder"]:
                rows = evaluation.evaluate(separate, heard(outside.stem_folders(options["folder"])))
                self.stdout.write(f"{options['folder']}\n{evaluation.table(rows)}\n")
                return
        except (EngineError, OSError, ValueError) as error:
            raise CommandError(str(error)) from error
        for name in options["sets"] or ["acceptance", "withheld"]:
            rows = evaluation.evaluate(separate, heard(evaluation.songs(name, options["songs"], options["seconds"])))
            title = f"{name}: {options['songs']} songs of {options['seconds']:g} s"
            title += ", dispersed" if options["dispersed"] else ""
            self.stdout.write(f"{title}\n{evaluation.table(rows)}\n")
