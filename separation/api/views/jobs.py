"""`/api/v1/jobs/`: ask for separations, follow them, end them; estimates before asking."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from separation import services
from separation.api import moments, parameters
from separation.api.base import ApiView
from separation.api.gate import refuse_when_busy
from separation.api.idempotency import once
from separation.api.pagination import Page
from separation.api.problems import Problem, not_found, unexpected
from separation.api.requests import (
    LARGEST_BATCH,
    BatchRequestSerializer,
    EstimateRequestSerializer,
    JobRequestSerializer,
    options_of,
    take_flag,
    take_uuid,
)
from separation.api.serializers import JobPage, JobSerializer, JobSummarySerializer, job_path
from separation.api.shell import as_problem
from separation.models import JobState, SeparationJob, Track
from separation.services.durability import durable
from separation.webhooks.services import add_endpoint, check_url

POLL_SECONDS = {JobState.RUNNING: 1, JobState.QUEUED: 2}


class EstimateSerializer(serializers.Serializer):
    """What a separation would need. `bytes` is its peak memory, `seconds` its time once it runs."""

    bytes = serializers.IntegerField()
    seconds = serializers.FloatField()
    fits = serializers.BooleanField(help_text="whether this server can run it at all")
    message = serializers.CharField(allow_blank=True, help_text="why not, when it does not fit")
    limit_bytes = serializers.IntegerField()


class BatchItemSerializer(serializers.Serializer):
    """What became of one job of a batch: the status and body it would have had alone."""

    status = serializers.IntegerField()
    job = JobSerializer(required=False)
    problem = serializers.DictField(required=False)


class BatchSerializer(serializers.Serializer):
    """One result for each job that was asked for, in their order."""

    results = BatchItemSerializer(many=True)


def own_job(view: ApiView, job_id: UUID) -> SeparationJob:
    """The caller's job. Raises 404 for anyone else's."""
    job = SeparationJob.objects.filter(owner=view.user, pk=job_id).select_related("track").first()
    if job is None:
        raise not_found()
    return job


def shown(job: SeparationJob, *, status: int = 200) -> Response:
    """The job in full; while it is not finished with how soon to ask again."""
    response = Response(JobSerializer(job).data, status=status)
    if not job.is_finished:
        response.headers["Retry-After"] = str(POLL_SECONDS[JobState(job.state)])
    return response


def submit_one(view: ApiView, body: dict[str, Any]) -> Response:
    """One job from a request body. 202, or 200 when a finished job is given again."""
    track = _wanted_track(view, body)
    url = check_url(body["webhook_url"]) if body.get("webhook_url") is not None else None
    force = take_flag(body, "force")
    options = services.parse_options(options_of(body))
    with durable() if url else nullcontext():  # a job can end at once, and its webhook must know of it
        job = services.submit(view.user, track, options, force=force)
        reused = bool(getattr(job, "reused", False))
        if url and not reused:
            add_endpoint(view.user, url, job=job)
    response = shown(job, status=200 if reused else 202)
    response.headers["Location"] = job_path(job)
    return response


def _wanted_track(view: ApiView, body: dict[str, Any]) -> Track:
    track = Track.objects.filter(owner=view.user, pk=take_uuid(body, "track")).first()
    if track is None:
        raise Problem(422, "not_found", "You have no track of this id.", field="track")
    return track


class JobList(ApiView):
    @extend_schema(
        operation_id="list_jobs",
        responses=JobPage,
        tags=["jobs"],
        parameters=[
            *parameters.CURSOR_PARAMETERS,
            parameters.query("state", "only jobs in this state", enum=JobState.values),
            parameters.query("track", "only jobs of this track", OpenApiTypes.UUID),
            parameters.query("model", "only jobs with this model"),
            parameters.query("created_after", "only jobs created after this moment", OpenApiTypes.DATETIME),
            parameters.query("created_before", "only jobs created before this moment", OpenApiTypes.DATETIME),
        ],
    )
    def get(self, request: Request) -> Response:
        """List your jobs."""
        filters = ("state", "track", "model", "created_after", "created_before")
        parameters.check_known(request, "page_size", "cursor", "ordering", *filters)
        page = Page(request._request, self._filtered(request).select_related("track"))
        return Response({"results": JobSummarySerializer(page.items, many=True).data, "next": page.next})

    def _filtered(self, request: Request) -> QuerySet[SeparationJob]:
        earliest, latest = (parameters.moment(request, name) for name in ("created_after", "created_before"))
        wanted = {
            "state": parameters.choice(request, "state", JobState.values),
            "track_id": parameters.uuid(request, "track"),
            "model": request.GET.get("model"),
            "created_at__gt": earliest and moments.after(earliest),
            "created_at__lt": latest and moments.before(latest),
        }
        given = {name: value for name, value in wanted.items() if value is not None}
        return SeparationJob.objects.filter(owner=self.user, **given)

    @extend_schema(
        operation_id="create_job",
        request=JobRequestSerializer,
        parameters=[parameters.IDEMPOTENCY_KEY],
        responses={
            202: OpenApiResponse(JobSerializer, description="queued"),
            200: OpenApiResponse(JobSerializer, description="the same was done before: here it is"),
        },
        tags=["jobs"],
    )
    def post(self, request: Request) -> Response:
        """Ask for a separation. `Location` is where to follow it."""
        refuse_when_busy("separate")
        body = self.body()
        return once(request._request, self.user, body, lambda: submit_one(self, body), within=durable)


class JobBatch(ApiView):
    @extend_schema(
        operation_id="create_jobs",
        request=BatchRequestSerializer,
        parameters=[parameters.IDEMPOTENCY_KEY],
        responses=BatchSerializer,
        tags=["jobs"],
    )
    def post(self, request: Request) -> Response:
        """Ask for several separations at once. Each is accepted or refused on its own."""
        refuse_when_busy("separate")
        body = self.body()
        jobs = body.get("jobs")
        if set(body) != {"jobs"} or not isinstance(jobs, list) or not 1 <= len(jobs) <= LARGEST_BATCH:
            raise Problem(422, "invalid_option", f"jobs is a list of 1 to {LARGEST_BATCH} requests.", field="jobs")
        return once(request._request, self.user, body, lambda: Response({"results": [self._one(job) for job in jobs]}))

    def _one(self, job: Any) -> dict[str, Any]:
        """What became of one job. Never raises: under an Idempotency-Key the others would be made again."""
        try:
            if not isinstance(job, dict):
                raise Problem(422, "malformed_body", "Each job must be an object.")
            response = submit_one(self, job)
        except Exception as error:  # noqa: BLE001 - the boundary of one job: logged in full, a 500 problem of its own
            problem = as_problem(error) or unexpected(self.request._request, error)
            return {"status": problem.status, "problem": problem.as_dict()}
        return {"status": response.status_code, "job": response.data}


class JobDetail(ApiView):
    @extend_schema(operation_id="get_job", responses=JobSerializer, tags=["jobs"])
    def get(self, request: Request, id: UUID) -> Response:
        """Follow a job until it is finished. Ask again after `Retry-After` seconds with `If-None-Match`: 304 says that
        nothing has changed. To be told rather than to ask, name a `webhook_url` or make a webhook. There is no stream
        of events: each listener would keep one of the server's threads.
        """
        return shown(own_job(self, id))

    @extend_schema(operation_id="delete_job", responses={204: OpenApiResponse(description="gone")}, tags=["jobs"])
    def delete(self, request: Request, id: UUID) -> Response:
        """Delete a job and its stems. If it runs, it is ended."""
        services.delete_job(own_job(self, id))
        return Response(status=204)


class JobCancel(ApiView):
    @extend_schema(operation_id="cancel_job", request=None, responses=JobSerializer, tags=["jobs"])
    def post(self, request: Request, id: UUID) -> Response:
        """Cancel a job that waits or runs."""
        return shown(services.cancel(own_job(self, id)))


class JobRetry(ApiView):
    @extend_schema(operation_id="retry_job", request=None, responses={202: JobSerializer}, tags=["jobs"])
    def post(self, request: Request, id: UUID) -> Response:
        """Queue a failed or cancelled job again."""
        refuse_when_busy("separate")
        return shown(services.retry(own_job(self, id)), status=202)


class Estimates(ApiView):
    @extend_schema(
        operation_id="estimate", request=EstimateRequestSerializer, responses=EstimateSerializer, tags=["jobs"]
    )
    def post(self, request: Request) -> Response:
        """What a separation would need, without asking for it."""
        body = self.body()
        track = _wanted_track(self, body)
        options = services.parse_options({k: v for k, v in body.items() if k != "track"})
        return Response(EstimateSerializer(services.estimate(track, options)).data)
