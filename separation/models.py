"""What Stemsite remembers about music: Track, SeparationJob, Attempt, JobEvent, Stem; who asked for how much lately;
and which worker clusters run.

Owns the tables and what can be read off one row. State changes live in `states.py`, work in `services/`.
"""

import uuid
from pathlib import PurePosixPath

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from separation.filenames import with_ending


def track_path(track: "Track", _filename: str) -> str:
    """Where a track's bytes are kept; a file name given by a user is never part of a path."""
    return f"tracks/{track.id}/original"


def stem_path(stem: "Stem", filename: str) -> str:
    """`filename` is the publisher's own `<attempt>-<stem>.<ext>`: two attempts never share a name."""
    return f"stems/{stem.job_id}/{PurePosixPath(filename).name}"


class Track(models.Model):
    """One uploaded piece of music: its bytes in storage, and the facts a probe read from them."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="tracks")
    original_name = models.CharField(max_length=255, help_text="As the user's machine called it. Data, never a path.")
    file = models.FileField(upload_to=track_path, max_length=255)
    size = models.PositiveBigIntegerField(help_text="bytes")
    sha256 = models.CharField(max_length=64, db_index=True)
    duration_seconds = models.FloatField(
        null=True, help_text="as the container states it; may be off for damaged files"
    )
    sample_rate = models.PositiveBigIntegerField(null=True, help_text="Hz")
    channels = models.PositiveIntegerField(null=True)
    codec = models.CharField(max_length=64, blank=True)
    container = models.CharField(max_length=64, blank=True)
    title = models.CharField(max_length=255, blank=True)
    artist = models.CharField(max_length=255, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["owner", "-created_at", "-id"], name="track_by_owner"),
            models.Index(fields=["-created_at", "-id"], name="track_by_age"),
        ]

    def __str__(self) -> str:
        return self.display_name

    @property
    def display_name(self) -> str:
        """The file name without its extension: what stems and downloads are called after."""
        return PurePosixPath(self.original_name).stem or "track"


class JobState(models.TextChoices):
    QUEUED = "queued", "queued"
    RUNNING = "running", "running"
    SUCCEEDED = "succeeded", "succeeded"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


FINISHED = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class SeparationJob(models.Model):
    """One request to separate a track, and the truth about how far it is.

    ::

                      submit                     claim (attempt + 1)
        (nothing) ------------> queued ------------------------------> running
                                 |  ^                                 |  |  |
                          cancel |  | requeue: lost lease, leaner     |  |  | publish
                                 |  | retry, host pressure            |  |  v
                                 |  +---------------------------------+  |  succeeded
                                 v             fail                      |
                             cancelled <------------+ failed <-----------+
                                        cancel      |
                                                    +--- retry (by a person) ---> queued

    Every arrow is a function in `states.py` that updates by compare-and-set on (state, attempt number), so a
    late or duplicate actor changes nothing. The django-q2 message is only a wake-up; this row is the truth.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="jobs")
    track = models.ForeignKey(Track, on_delete=models.CASCADE, related_name="jobs")

    # what was asked for
    model = models.CharField(max_length=64)
    options = models.JSONField(default=dict, help_text="SeparationOptions.as_dict()")
    fingerprint = models.CharField(
        max_length=64, db_index=True, help_text="sha256 of the input's bytes and the options"
    )
    priority = models.SmallIntegerField(default=0, help_text="higher goes first")

    # where it stands
    state = models.CharField(max_length=16, choices=JobState, default=JobState.QUEUED)
    reason = models.CharField(max_length=32, blank=True, help_text="a ReasonCode when failed or cancelled")
    message = models.TextField(blank=True, help_text="the sentence that goes with the reason")
    phase = models.CharField(
        max_length=16, blank=True, help_text="loading, scanning, separating, finishing, publishing"
    )
    progress = models.FloatField(default=0.0, help_text="0 to 1")
    eta_seconds = models.FloatField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)
    lean = models.PositiveSmallIntegerField(default=0, help_text="how many steps leaner than asked it runs")
    not_before = models.DateTimeField(null=True, help_text="not claimed earlier (back-off)")

    # fencing: the attempt that may write to this row, and until when
    attempt_number = models.PositiveIntegerField(default=0)
    attempts_before = models.PositiveIntegerField(
        default=0, help_text="attempts already made when a person last asked for it; the limits count from there"
    )
    lease_expires_at = models.DateTimeField(null=True)
    host = models.CharField(max_length=255, blank=True)

    # memory, bytes
    estimate_bytes = models.PositiveBigIntegerField(default=0)
    reserved_bytes = models.PositiveBigIntegerField(default=0)
    current_bytes = models.PositiveBigIntegerField(default=0)
    peak_bytes = models.PositiveBigIntegerField(default=0)
    limit_bytes = models.PositiveBigIntegerField(default=0)
    estimate_seconds = models.FloatField(null=True)

    # what was done
    result = models.JSONField(default=dict, help_text="model used, shift offsets, what was effective")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    queued_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["owner", "-created_at", "-id"], name="job_by_owner"),
            models.Index(fields=["-created_at", "-id"], name="job_by_age"),
            models.Index(fields=["state", "-created_at", "-id"], name="job_by_state"),
            models.Index(fields=["reason", "-created_at", "-id"], name="job_by_reason"),
            # Not partial indexes: SQLite uses those only for conditions written out in the query, not for parameters.
            models.Index(fields=["state", "-priority", "queued_at", "id"], name="job_waiting"),
            models.Index(fields=["state", "owner", "-priority", "queued_at"], name="job_waiting_by_owner"),
            models.Index(fields=["state", "lease_expires_at"], name="job_leased"),
        ]
        constraints = [
            models.CheckConstraint(condition=models.Q(state__in=JobState.values), name="job_state_known"),
            models.CheckConstraint(condition=models.Q(progress__gte=0, progress__lte=1), name="job_progress_0_1"),
        ]

    def __str__(self) -> str:
        return f"{self.track_id} with {self.model} ({self.state})"

    @property
    def is_finished(self) -> bool:
        return self.state in FINISHED


class Submission(models.Model):
    """One job that somebody asked for, on record for the limits of a minute and of a day (`ledger.py`)."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    seconds = models.FloatField(help_text="of music")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["owner", "at"], name="submission_by_owner")]

    def __str__(self) -> str:
        return f"{self.seconds:.0f} s of music"


class Attempt(models.Model):
    """One try at a job on one host, counted when it is claimed. A lost worker leaves its outcome to the reaper."""

    job = models.ForeignKey(SeparationJob, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField()
    host = models.CharField(max_length=255)
    worker_pid = models.PositiveIntegerField(null=True)
    reservation_id = models.BigIntegerField(null=True)
    lean = models.PositiveSmallIntegerField(default=0)
    started_at = models.DateTimeField(db_default=Now())
    heartbeat_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(
        max_length=16, blank=True, help_text="succeeded, failed, cancelled, requeued; blank while running"
    )
    reason = models.CharField(max_length=32, blank=True)
    message = models.TextField(blank=True)
    estimate_bytes = models.PositiveBigIntegerField(default=0)
    reserved_bytes = models.PositiveBigIntegerField(default=0)
    limit_bytes = models.PositiveBigIntegerField(default=0)
    peak_bytes = models.PositiveBigIntegerField(default=0)
    cpu_seconds = models.FloatField(null=True)
    layers = models.JSONField(default=list, help_text="enforcement layers that were active")
    stderr_tail = models.TextField(blank=True)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["job", "number"], name="attempt_number_once")]

    def __str__(self) -> str:
        return f"attempt {self.number}"


class JobEvent(models.Model):
    """One thing that happened to a job. Appended, never changed."""

    job = models.ForeignKey(SeparationJob, on_delete=models.CASCADE, related_name="events")
    attempt_number = models.PositiveIntegerField(null=True)
    at = models.DateTimeField(db_default=Now())
    kind = models.CharField(max_length=32)
    message = models.TextField(blank=True)
    data = models.JSONField(default=dict)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}" if self.message else self.kind


class Stem(models.Model):
    """One separated source of a finished job, as a file in storage."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    job = models.ForeignKey(SeparationJob, on_delete=models.CASCADE, related_name="stems")
    name = models.CharField(max_length=64, help_text="vocals, drums, bass, other, no_vocals, …")
    file = models.FileField(upload_to=stem_path, max_length=255)
    format = models.CharField(max_length=16)
    size = models.PositiveBigIntegerField(help_text="bytes")
    sha256 = models.CharField(max_length=64)
    crc32 = models.PositiveBigIntegerField()
    samples = models.PositiveBigIntegerField(help_text="per channel")
    sample_rate = models.PositiveIntegerField(help_text="Hz")
    channels = models.PositiveSmallIntegerField(default=2)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["job", "name"]
        constraints = [models.UniqueConstraint(fields=["job", "name"], name="stem_once_per_job")]

    def __str__(self) -> str:
        return self.name

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate

    @property
    def download_name(self) -> str:
        """`<track> - <stem>.<ext>`, for Content-Disposition and zip members; a long track's name is cut."""
        extension = PurePosixPath(self.file.name or "").suffix
        return with_ending(self.job.track.display_name, f" - {self.name}{extension}")


class WorkerCluster(models.Model):
    """The django-q2 cluster of one host: which process it is, and when it last answered a ping."""

    host = models.CharField(max_length=255, unique=True)
    pid = models.PositiveIntegerField()
    create_time = models.FloatField(help_text="of the process, as the kernel counts it: a pid alone may be reused")
    started_at = models.DateTimeField(db_default=Now())
    pinged_at = models.DateTimeField(null=True, help_text="the oldest ping not yet answered")
    answered_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.host} (process {self.pid})"


class PaceObservation(models.Model):
    """What one separation should have taken and what it took; the estimates of time learn from it."""

    feature_key = models.CharField(max_length=255)
    expected_seconds = models.FloatField(help_text="by the catalogue's measurements")
    observed_seconds = models.FloatField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["feature_key", "-id"], name="pace_history")]

    def __str__(self) -> str:
        return f"{self.feature_key}: {self.observed_seconds:.0f} s"
