"""What is kept about memory: hosts, reservations, samples, incidents, service processes, observed peaks.

Owns the tables. Who may reserve is decided in `limiter.py`; samples are written by `sampling.py`.
All times are the database's, so hosts whose clocks differ agree on who holds what.
"""

from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Host(models.Model):
    """One machine (or container) that runs operations. Its row is what admissions take turns on."""

    name = models.CharField(max_length=255, primary_key=True)
    version = models.PositiveBigIntegerField(default=0, help_text="admissions tried so far")
    budget_bytes = models.PositiveBigIntegerField(default=0, help_text="for all operations together")
    heavy_bytes = models.PositiveBigIntegerField(default=0, help_text="the part of it heavy operations may take")
    effective_bytes = models.PositiveBigIntegerField(default=0, help_text="least of machine, container and limits")
    available_bytes = models.PositiveBigIntegerField(default=0, help_text="when last seen")
    blocked_key = models.CharField(max_length=255, blank=True, help_text="head of the queue that did not fit")
    blocked_since = models.DateTimeField(null=True)
    blocked_seen = models.DateTimeField(null=True, help_text="when an admission last found it waiting")
    workers_seen = models.DateTimeField(null=True, help_text="when a process that runs operations was last seen here")
    last_seen = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Live(Host):
    """The live page of the admin: no table of its own, only an entry in the index and a permission."""

    class Meta:
        proxy = True
        default_permissions = ("view",)
        verbose_name = "live memory"
        verbose_name_plural = "live memory"


LONGEST_LEASE = timedelta(days=1)


class ReservationQuerySet(models.QuerySet["Reservation"]):
    def held(self) -> "ReservationQuerySet":
        """Those that count: not released, lease not run out."""
        return self.filter(released_at=None, expires_at__gt=Now())

    def lost(self) -> "ReservationQuerySet":
        """Those whose holder stopped renewing, or has a lease that only a clock since put back can have given."""
        ended = Q(expires_at__lte=Now()) | Q(expires_at__gt=Now() + LONGEST_LEASE)
        return self.filter(ended, released_at=None)


class Reservation(models.Model):
    """Memory promised to one operation on one host, until released or its lease runs out."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="reservations")
    kind = models.CharField(max_length=32)
    heavy = models.BooleanField(default=True, help_text="counts against MAX_CONCURRENT_OPERATIONS")
    key = models.CharField(max_length=255, help_text="the caller's name for the operation")
    label = models.CharField(max_length=255, blank=True)
    owner = models.CharField(max_length=255, blank=True)
    bytes = models.PositiveBigIntegerField(help_text="reserved: the estimate it was admitted with")
    limit_bytes = models.PositiveBigIntegerField(default=0, help_text="at which it is ended")
    observed_bytes = models.PositiveBigIntegerField(default=0, help_text="when last renewed")
    peak_bytes = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now())
    renewed_at = models.DateTimeField(null=True)
    sampled_at = models.DateTimeField(null=True)
    lease_seconds = models.FloatField(help_text="how long it is kept after each renewal")
    expires_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True)
    expired = models.BooleanField(default=False, help_text="its holder was lost; released by the reaper")

    objects = ReservationQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["host", "expires_at"], name="reservation_held", condition=Q(released_at=None)),
            models.Index(fields=["key"], name="reservation_by_key"),
            models.Index(fields=["-created_at", "-id"], name="reservation_by_age"),
        ]

    def __str__(self) -> str:
        return self.label or f"{self.kind} {self.key}"

    @property
    def charge(self) -> int:
        """What it counts for: its reservation, or what it was seen to use if that is more."""
        return max(self.bytes, self.observed_bytes)


class SampleSubject(models.TextChoices):
    HOST = "host", "host"
    PROCESS = "process", "service process"
    OPERATION = "operation", "operation"


class UsageSample(models.Model):
    """Memory of one host, service process or operation at one time; after down-sampling, the most in a span."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="samples")
    subject = models.CharField(max_length=16, choices=SampleSubject)
    subject_key = models.CharField(max_length=255, blank=True, help_text="reservation id, or role:pid")
    at = models.DateTimeField(db_default=Now())
    resolution = models.PositiveIntegerField(default=0, help_text="seconds it stands for; 0: as measured")
    bytes = models.PositiveBigIntegerField(help_text="used; the most in the span")
    available_bytes = models.PositiveBigIntegerField(null=True, help_text="host only; the least in the span")
    peak_bytes = models.PositiveBigIntegerField(null=True)

    class Meta:
        ordering = ["at"]
        indexes = [
            models.Index(fields=["subject", "subject_key", "at"], name="sample_history"),
            models.Index(fields=["resolution", "at"], name="sample_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} {self.subject_key} {self.at}"


class IncidentKind(models.TextChoices):
    MEMORY_LIMIT = "memory_limit", "operation over its limit"
    HOST_OUT_OF_MEMORY = "host_out_of_memory", "host ran out of memory"
    KILLED = "killed", "operation killed from outside"
    SERVICE_WARNING = "service_warning", "service process over the warning threshold"
    SERVICE_LIMIT = "service_limit", "service process over its limit"
    LEASE_LOST = "lease_lost", "reservation's holder lost"


class MemoryIncident(models.Model):
    """Something that went wrong with memory. Appended, never changed."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="incidents")
    kind = models.CharField(max_length=32, choices=IncidentKind)
    operation_kind = models.CharField(max_length=32, blank=True)
    operation_key = models.CharField(max_length=255, blank=True)
    limit_bytes = models.PositiveBigIntegerField(null=True)
    peak_bytes = models.PositiveBigIntegerField(null=True)
    message = models.TextField(blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [
            models.Index(fields=["-at", "-id"], name="incident_by_age"),
            models.Index(fields=["operation_key"], name="incident_by_operation"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} at {self.at}"


class ServiceProcess(models.Model):
    """A process of the service itself (web, worker, …), as it last reported."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="processes")
    role = models.CharField(max_length=32)
    pid = models.PositiveIntegerField()
    kernel_start = models.FloatField(default=0, help_text="start, as its host counts it; tells reused pids apart")
    rss_bytes = models.PositiveBigIntegerField(default=0)
    peak_bytes = models.PositiveBigIntegerField(default=0)
    accepting = models.BooleanField(default=True)
    reason = models.CharField(max_length=255, blank=True, help_text="why it takes no new work")
    started_at = models.DateTimeField(db_default=Now())
    last_seen = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["role", "pid"]
        verbose_name_plural = "service processes"
        constraints = [models.UniqueConstraint(fields=["host", "pid"], name="process_once_per_host")]

    def __str__(self) -> str:
        return f"{self.role} {self.pid}"


class PeakObservation(models.Model):
    """What one finished operation was estimated to need and what it took; the estimates learn from it."""

    kind = models.CharField(max_length=32)
    feature_key = models.CharField(max_length=255)
    estimated_bytes = models.PositiveBigIntegerField()
    observed_bytes = models.PositiveBigIntegerField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["kind", "feature_key", "-id"], name="peak_history")]

    def __str__(self) -> str:
        return f"{self.kind} {self.feature_key}"

    @property
    def was_low(self) -> bool:
        return self.observed_bytes > self.estimated_bytes


__all__ = [
    "Host",
    "IncidentKind",
    "Live",
    "MemoryIncident",
    "PeakObservation",
    "Reservation",
    "SampleSubject",
    "ServiceProcess",
    "UsageSample",
]
