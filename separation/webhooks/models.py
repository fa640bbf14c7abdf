"""The tables of webhooks: where to, and what was sent when with which answer."""

import secrets
import uuid
from base64 import b64encode

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from separation.models import SeparationJob

SECRET_PREFIX = "whsec_"


def new_secret() -> str:
    """`whsec_` and 32 random bytes in base64, as Standard Webhooks writes symmetric keys."""
    return SECRET_PREFIX + b64encode(secrets.token_bytes(32)).decode()


class Endpoint(models.Model):
    """An address that one user wants told about all their jobs, or about one."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="webhooks")
    url = models.URLField(max_length=2000)
    secret = models.CharField(max_length=64, default=new_secret, editable=False)
    job = models.ForeignKey(
        SeparationJob, null=True, blank=True, on_delete=models.CASCADE, related_name="webhooks", help_text="only this"
    )
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return self.url


class DeliveryState(models.TextChoices):
    WAITING = "waiting", "waiting"
    DELIVERED = "delivered", "delivered"
    FAILED = "failed", "given up"


class Delivery(models.Model):
    """One message to one endpoint, through all its tries. `id` is the message's id, the same in every try."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="deliveries")
    event = models.CharField(max_length=32, help_text="job.succeeded, job.failed, job.cancelled")
    payload = models.JSONField()
    state = models.CharField(max_length=16, choices=DeliveryState, default=DeliveryState.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    last_attempt_at = models.DateTimeField(null=True)
    status = models.PositiveSmallIntegerField(null=True, help_text="HTTP status of the last answer")
    error = models.CharField(max_length=255, blank=True, help_text="why the last try failed")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["-created_at", "-id"]
        verbose_name_plural = "deliveries"
        indexes = [models.Index(fields=["next_attempt_at"], name="webhook_due", condition=models.Q(state="waiting"))]

    def __str__(self) -> str:
        return f"{self.event} ({self.state})"
