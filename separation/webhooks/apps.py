"""The `webhooks` app."""

from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "separation.webhooks"
    label = "webhooks"
    verbose_name = "Webhooks"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from separation.webhooks import signals

        signals.connect()
