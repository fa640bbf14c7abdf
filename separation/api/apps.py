"""The `api` app."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "separation.api"
    label = "api"
    verbose_name = "API"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from separation.api import schema

        schema.register()
