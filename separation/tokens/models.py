"""The table of access tokens. Only a digest is kept: a token is shown once, when it is made."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone


class Scope(models.TextChoices):
    """What a token may do for its user. `submit` includes `read`; `staff` only counts for staff users."""

    READ = "read", "read: see and download"
    SUBMIT = "submit", "submit: upload, separate, cancel, delete"
    STAFF = "staff", "staff: live memory of the server"


class AccessToken(models.Model):
    """One named credential of one user. The secret has 256 random bits, so a plain SHA-256 of it is enough."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="access_tokens")
    name = models.CharField(max_length=100)
    hint = models.CharField(max_length=12, help_text="how the token begins, to tell tokens apart")
    digest = models.CharField(max_length=64, unique=True, help_text="SHA-256 of the token")
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="empty: never")
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.hint}…)"

    @property
    def is_active(self) -> bool:
        """Whether it opens anything now: neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())
