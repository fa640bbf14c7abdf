"""The table of uploads: how much of each has arrived, and what became of it."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from separation.models import Track


class UploadState(models.TextChoices):
    RECEIVING = "receiving", "receiving"
    FINISHED = "finished", "finished"
    REJECTED = "rejected", "rejected"
    TERMINATED = "terminated", "terminated"
    EXPIRED = "expired", "expired"


class Upload(models.Model):
    """One file on its way in.

    ::

        (nothing) --create--> receiving --all bytes, a readable track--> finished
                                 |  +-----all bytes, no readable track--> rejected
                                 |  +-----DELETE------------------------> terminated
                                 +--------expires_at passed-------------> expired

    `offset` is the truth about how much is kept: it only moves after the bytes are on disk, by a conditional
    UPDATE, under the lock on the part file. Bytes on disk beyond it are cut off before anything is appended.
    Ended uploads stay as rows for a while, so that their address answers 410 rather than 404.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="uploads")
    host = models.CharField(max_length=255, help_text="whose staging area has the bytes")
    length = models.PositiveBigIntegerField(null=True, help_text="bytes; empty while deferred")
    offset = models.PositiveBigIntegerField(default=0, help_text="bytes safely received")
    metadata = models.TextField(blank=True, help_text="the Upload-Metadata header as it was sent")
    filename = models.CharField(max_length=255, blank=True)
    sha256 = models.CharField(max_length=64, blank=True, help_text="what the client says the whole file has")
    state = models.CharField(max_length=16, choices=UploadState, default=UploadState.RECEIVING)
    reason = models.CharField(max_length=32, blank=True)
    message = models.TextField(blank=True)
    track = models.ForeignKey(Track, null=True, blank=True, on_delete=models.SET_NULL, related_name="uploads")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["owner", "-created_at", "-id"], name="upload_by_owner"),
            models.Index(fields=["expires_at"], name="upload_by_expiry"),
        ]
        constraints = [
            models.CheckConstraint(condition=models.Q(state__in=UploadState.values), name="upload_state_known"),
            models.CheckConstraint(
                condition=models.Q(length__isnull=True) | models.Q(offset__lte=models.F("length")),
                name="upload_offset_within_length",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.filename or self.id} ({self.state})"

    @property
    def is_complete(self) -> bool:
        """Whether every byte has arrived, whatever became of them."""
        return self.length is not None and self.offset == self.length

    @property
    def remaining(self) -> int | None:
        """Bytes still to come, None while the length is deferred."""
        return None if self.length is None else self.length - self.offset
