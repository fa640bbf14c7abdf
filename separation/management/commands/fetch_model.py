"""`manage.py fetch_model NAME`: download a model's weights, with progress and checksum."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from separation.catalog import MODELS, STARTER
from separation.weights import FetchError, Progress, fetch


class Command(BaseCommand):
    """Fetches one model into MODEL_DIR."""

    help = "Download the weights of a model, so that jobs can use it."

    def add_arguments(self, parser: CommandParser) -> None:
        """The model's name."""
        parser.add_argument("name", metavar="NAME", help=f"one of {', '.join(MODELS)}")

    def handle(self, *, name: str, **_options: Any) -> None:
        """Fetch and say where the files are."""
        try:
            place = fetch(name, settings.MODEL_DIR, self._show)
        except FetchError as error:
            raise CommandError(error.message) from error
        self.stdout.write(self.style.SUCCESS(f"{name} is ready ({place})."))
        if name == STARTER:
            self.stdout.write("It comes with Stemsite; there was nothing to download.")

    def _show(self, progress: Progress) -> None:
        share = f"{100 * progress.done / progress.total:5.1f} %" if progress.total else ""
        end = "\n" if progress.done == progress.total else "\r"
        self.stdout.write(f"{progress.file}  {progress.done / 1024**2:8.1f} MB  {share}", ending=end)
        self.stdout.flush()
