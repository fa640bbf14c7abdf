"""What the server offers: models, its limits for you, signed links, live memory, and what problem codes mean."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from memory.live import live_snapshot
from separation import catalog, ledger
from separation.api import links
from separation.api.base import ApiView
from separation.api.problems import Problem, meaning, not_found
from separation.api.views.jobs import own_job
from separation.catalog import MODELS
from separation.models import Stem
from separation.services.submission import default_model
from separation.tokens.models import Scope
from separation.uploads import limits
from separation.usage import usage_of


class ModelSerializer(serializers.Serializer):
    """A model, and whether a job with it could start now."""

    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    description = serializers.CharField()
    stems = serializers.ListField(child=serializers.CharField(), source="sources")
    ready = serializers.SerializerMethodField()
    default = serializers.SerializerMethodField("is_default")
    reason = serializers.SerializerMethodField(help_text="why it is not ready; empty when it is")
    release_quality = serializers.BooleanField()
    sample_rate = serializers.IntegerField()
    channels = serializers.IntegerField()
    segment_seconds = serializers.FloatField()
    download_megabytes = serializers.IntegerField(source="megabytes")

    def get_ready(self, info: catalog.ModelInfo) -> bool:
        return catalog.is_ready(info.name, settings.MODEL_DIR)

    def is_default(self, info: catalog.ModelInfo) -> bool:
        return info.name == default_model()

    def get_reason(self, info: catalog.ModelInfo) -> str:
        if self.get_ready(info):
            return ""
        return catalog.unavailable_reason(info.name) or "Its weights are not on this server."


class ModelListSerializer(serializers.Serializer):
    """All models, ready or not."""

    results = ModelSerializer(many=True)


class LimitSerializer(serializers.Serializer):
    """One limit: `limit` 0 means none; `used` is null where nothing is counted."""

    name = serializers.CharField()
    unit = serializers.CharField()
    limit = serializers.FloatField()
    used = serializers.FloatField(allow_null=True)


class LimitListSerializer(serializers.Serializer):
    """Every limit that applies to you."""

    results = LimitSerializer(many=True)


class LinkRequestSerializer(serializers.Serializer):
    """For how long."""

    expires_in = serializers.IntegerField(min_value=1, max_value=links.LONGEST_SECONDS, required=False)


class LinkSerializer(serializers.Serializer):
    """A link that needs no account until it expires."""

    url = serializers.CharField()
    expires_at = serializers.DateTimeField()


class Models(ApiView):
    @extend_schema(operation_id="list_models", responses=ModelListSerializer, tags=["server"])
    def get(self, request: Request) -> Response:
        """The models, and which are ready."""
        return Response({"results": ModelSerializer(MODELS.values(), many=True).data})


class Limits(ApiView):
    @extend_schema(operation_id="list_limits", responses=LimitListSerializer, tags=["server"])
    def get(self, request: Request) -> Response:
        """The limits that apply to you, and how much of each you use. Refusals name them by these names."""
        usage, user = usage_of(self.user), self.user
        rows = [
            ("max_upload_bytes", "bytes", settings.MAX_UPLOAD_BYTES, None),
            ("max_duration_seconds", "seconds", settings.MAX_DURATION_SECONDS, None),
            ("quota_bytes_per_user", "bytes", settings.QUOTA_BYTES_PER_USER, limits.taken_bytes(user)),
            ("quota_minutes_per_day", "minutes", settings.QUOTA_MINUTES_PER_DAY, usage.minutes_today),
            ("quota_queued_jobs", "jobs", settings.QUOTA_QUEUED_JOBS, usage.waiting),
            ("upload_max_unfinished", "uploads", settings.UPLOAD_MAX_UNFINISHED, limits.unfinished(user).count()),
            (
                "upload_creations_per_minute",
                "uploads",
                settings.UPLOAD_CREATIONS_PER_MINUTE,
                limits.created_last_minute(user),
            ),
            ("upload_bytes_per_day", "bytes", settings.UPLOAD_BYTES_PER_DAY, limits.bytes_last_day(user)),
            ("job_creations_per_minute", "jobs", settings.JOB_CREATIONS_PER_MINUTE, ledger.count_last_minute(user)),
            ("retention_days_tracks", "days", settings.RETENTION_DAYS_TRACKS, None),
            ("retention_days_stems", "days", settings.RETENTION_DAYS_STEMS, None),
            ("retention_hours_uploads", "hours", settings.RETENTION_HOURS_UPLOADS, None),
        ]
        named = [dict(zip(("name", "unit", "limit", "used"), row, strict=True)) for row in rows]
        return Response({"results": LimitSerializer(named, many=True).data})


class LinkView(ApiView):
    """Base of the two kinds of links."""

    def path(self, id: UUID) -> str:
        raise NotImplementedError

    def _made(self, id: UUID) -> Response:
        path = self.path(id)
        body = self.body()
        seconds = body.get("expires_in", links.DEFAULT_SECONDS)
        whole = isinstance(seconds, int) and not isinstance(seconds, bool)
        if set(body) - {"expires_in"} or not whole or not 1 <= seconds <= links.LONGEST_SECONDS:
            detail = f"expires_in is a whole number of seconds from 1 to {links.LONGEST_SECONDS}."
            raise Problem(422, "invalid_option", detail, field="expires_in")
        url, expires_at = links.signed(path, seconds)
        return Response(LinkSerializer({"url": url, "expires_at": expires_at}).data, status=201)


class StemLink(LinkView):
    scopes = {"POST": Scope.READ}

    def path(self, id: UUID) -> str:
        stem = Stem.objects.filter(pk=id, job__owner=self.user).first()
        if stem is None:
            raise not_found()
        return f"/api/v1/stems/{stem.pk}/audio"

    @extend_schema(
        operation_id="link_stem", request=LinkRequestSerializer, responses={201: LinkSerializer}, tags=["stems"]
    )
    def post(self, request: Request, id: UUID) -> Response:
        """A link to one stem for someone without an account."""
        return self._made(id)


class ZipLink(LinkView):
    scopes = {"POST": Scope.READ}

    def path(self, id: UUID) -> str:
        return f"/api/v1/jobs/{own_job(self, id).pk}/stems.zip"

    @extend_schema(
        operation_id="link_stems_zip", request=LinkRequestSerializer, responses={201: LinkSerializer}, tags=["stems"]
    )
    def post(self, request: Request, id: UUID) -> Response:
        """A link to the zip of a job's stems for someone without an account."""
        return self._made(id)


class Memory(ApiView):
    scopes = {"GET": Scope.STAFF}

    @extend_schema(operation_id="live_memory", responses=OpenApiTypes.OBJECT, tags=["server"])
    def get(self, request: Request) -> Response:
        """Live memory of the host, its operations and reservations. For staff."""
        return Response(live_snapshot())


def problem_meaning(request: HttpRequest, code: str) -> HttpResponse:
    """What a problem's `type` leads to: one sentence, as plain text."""
    sentence = meaning(code)
    if sentence is None:
        return HttpResponse("There is no problem of this name.\n", status=404, content_type="text/plain; charset=utf-8")
    return HttpResponse(f"{code}: {sentence}\n", content_type="text/plain; charset=utf-8")
