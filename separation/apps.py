"""The `separation` app."""

from django.apps import AppConfig
from django.db.models.signals import post_delete


class SeparationConfig(AppConfig):
    name = "separation"
    verbose_name = "Separation"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Files go with their rows; system checks are registered."""
        from separation import checks  # noqa: F401
        from separation.models import Stem, Track
        from separation.services.storing import forget_file

        for model in (Track, Stem):
            post_delete.connect(forget_file, sender=model, dispatch_uid=f"forget {model.__name__}")
