"""How tracks, jobs and stems look as JSON. Owns shapes; sizes are bytes, times seconds or RFC 3339 moments."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from separation import services
from separation.models import Attempt, JobState, SeparationJob, Stem, Track


class TrackSerializer(serializers.ModelSerializer):
    """An uploaded piece of music and what a probe read from it."""

    name = serializers.CharField(source="original_name", help_text="as the file was called")

    class Meta:
        model = Track
        fields = [
            "id",
            "name",
            "size",
            "sha256",
            "duration_seconds",
            "sample_rate",
            "channels",
            "codec",
            "container",
            "title",
            "artist",
            "created_at",
        ]
        read_only_fields = fields


class StemSerializer(serializers.ModelSerializer):
    """One separated source, and where its audio is."""

    filename = serializers.CharField(source="download_name")
    audio = serializers.SerializerMethodField()

    class Meta:
        model = Stem
        fields = [
            "id",
            "name",
            "filename",
            "format",
            "size",
            "sha256",
            "samples",
            "sample_rate",
            "channels",
            "audio",
            "created_at",
        ]
        read_only_fields = fields

    @extend_schema_field({"type": "string", "format": "uri-reference"})
    def get_audio(self, stem: Stem) -> str:
        return f"/api/v1/stems/{stem.pk}/audio"


class MemorySerializer(serializers.Serializer):
    """What a job needs, has and had, in bytes; 0 while it is not known."""

    estimate = serializers.IntegerField(source="estimate_bytes")
    reserved = serializers.IntegerField(source="reserved_bytes")
    current = serializers.IntegerField(source="current_bytes")
    peak = serializers.IntegerField(source="peak_bytes")
    limit = serializers.IntegerField(source="limit_bytes")


class AttemptMemorySerializer(serializers.Serializer):
    """What one attempt needed, had and reached, in bytes."""

    estimate = serializers.IntegerField(source="estimate_bytes")
    reserved = serializers.IntegerField(source="reserved_bytes")
    peak = serializers.IntegerField(source="peak_bytes")
    limit = serializers.IntegerField(source="limit_bytes")


class AttemptSerializer(serializers.ModelSerializer):
    """One try at a job."""

    memory = AttemptMemorySerializer(source="*")

    class Meta:
        model = Attempt
        fields = ["number", "started_at", "ended_at", "outcome", "reason", "message", "lean", "memory"]
        read_only_fields = fields


class JobSummarySerializer(serializers.ModelSerializer):
    """A job as lists show it."""

    track = serializers.UUIDField(source="track_id")
    track_name = serializers.CharField(source="track.display_name")
    state = serializers.ChoiceField(choices=JobState.choices)
    options = serializers.DictField()
    memory = MemorySerializer(source="*")
    url = serializers.SerializerMethodField()

    class Meta:
        model = SeparationJob
        fields = [
            "id",
            "url",
            "track",
            "track_name",
            "model",
            "options",
            "state",
            "reason",
            "message",
            "phase",
            "progress",
            "eta_seconds",
            "estimate_seconds",
            "memory",
            "created_at",
            "queued_at",
            "started_at",
            "finished_at",
        ]
        read_only_fields = fields

    @extend_schema_field({"type": "string", "format": "uri-reference"})
    def get_url(self, job: SeparationJob) -> str:
        return job_path(job)


class JobSerializer(JobSummarySerializer):
    """A job with its place in the queue, its attempts and its stems."""

    queue_position = serializers.SerializerMethodField(help_text="1 is next; null unless it is queued")
    starts_in_seconds = serializers.SerializerMethodField(
        help_text="by the estimates of the jobs before it; null unless it is queued, or where that cannot be told"
    )
    waiting_reason = serializers.SerializerMethodField(help_text="why it has not started; null unless it is queued")
    cancel_requested = serializers.SerializerMethodField()
    reused = serializers.SerializerMethodField(help_text="whether this answer is an earlier, finished job")
    attempts = AttemptSerializer(many=True)
    stems = StemSerializer(many=True)
    zip = serializers.SerializerMethodField(help_text="all stems in one file, once there are any")

    class Meta(JobSummarySerializer.Meta):
        fields = [
            *JobSummarySerializer.Meta.fields,
            "queue_position",
            "starts_in_seconds",
            "waiting_reason",
            "cancel_requested",
            "reused",
            "attempts",
            "stems",
            "zip",
        ]
        read_only_fields = fields

    def to_representation(self, job: SeparationJob) -> dict[str, Any]:
        self._place = services.place_in_queue(job)
        return dict(super().to_representation(job))

    def get_queue_position(self, job: SeparationJob) -> int | None:
        return self._place.position if self._place else None

    def get_starts_in_seconds(self, job: SeparationJob) -> float | None:
        return self._place.starts_in if self._place else None

    def get_waiting_reason(self, job: SeparationJob) -> str | None:
        return self._place.reason or None if self._place else None

    def get_cancel_requested(self, job: SeparationJob) -> bool:
        return job.cancel_requested_at is not None

    def get_reused(self, job: SeparationJob) -> bool:
        return bool(getattr(job, "reused", False))

    @extend_schema_field({"type": ["string", "null"], "format": "uri-reference"})
    def get_zip(self, job: SeparationJob) -> str | None:
        return f"{job_path(job)}stems.zip" if job.state == JobState.SUCCEEDED else None


def job_path(job: SeparationJob) -> str:
    """Where a job is found."""
    return f"/api/v1/jobs/{job.pk}/"


def page_of(item: type[serializers.BaseSerializer]) -> type[serializers.Serializer]:
    """The serializer of one page of `item`."""
    members: dict[str, Any] = {
        "__doc__": "One page; `next` is where the following one is.",
        "results": item(many=True),
        "next": serializers.CharField(allow_null=True),
    }
    return type(f"{item.__name__.removesuffix('Serializer')}PageSerializer", (serializers.Serializer,), members)


TrackPage = page_of(TrackSerializer)
JobPage = page_of(JobSummarySerializer)
