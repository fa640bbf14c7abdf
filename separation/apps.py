"""The `separation` app."""

from django.apps import AppConfig
from django.db.models.signals import post_delete


class SeparationConfig(AppConfig):
    name = "separation"
    verbose_name = "Separation"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Files go with their rows; the queue is shown on the live page of memory; checks are registered."""
        from memory.live import register_queue_source
        from separation import checks  # noqa: F401
        from separation.models import Stem, Track
        from separation.services.queue import waiting_candidates
        from separation.services.storing import forget_file

        for model in (Track, Stem):
            post_delete.connect(forget_file, sender=model, dispatch_uid=f"forget {model.__name__}")
        register_queue_source(waiting_candidates)
