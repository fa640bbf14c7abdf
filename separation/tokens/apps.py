"""The `tokens` app."""

from django.apps import AppConfig


class TokensConfig(AppConfig):
    name = "separation.tokens"
    label = "tokens"
    verbose_name = "Access tokens"
    default_auto_field = "django.db.models.BigAutoField"
