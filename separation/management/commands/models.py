"""`manage.py models`: the models on offer and which of them are ready."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from separation.catalog import MODELS, ModelInfo, default_model, is_ready, unavailable_reason


class Command(BaseCommand):
    """Prints one line a model; the default is marked."""

    help = "List the models, and whether each is ready to use here."

    def handle(self, **_options: Any) -> None:
        """Print the list."""
        default = settings.DEFAULT_MODEL or default_model(settings.MODEL_DIR)
        for info in MODELS.values():
            mark = "*" if info.name == default else " "
            self.stdout.write(f"{mark} {info.name:<13}{_state(info):<34}{', '.join(info.sources)}")
        self.stdout.write(f"\n* the default. Weights are kept in {settings.MODEL_DIR}")


def _state(info: ModelInfo) -> str:
    if is_ready(info.name, settings.MODEL_DIR):
        return "ready"
    if unavailable_reason(info.name):
        return f"needs the package {info.needs_package}"
    return f"not fetched (about {info.megabytes} MB)"
