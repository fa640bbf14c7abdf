"""The jobs a person has: list, one job's page, cancel, retry, delete. Owns requests and pages only."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from separation import catalog, services
from separation.errors import ServiceError
from separation.models import JobState, SeparationJob
from separation.templatetags.pages import vocals_first
from separation.views.acting import action_of
from separation.views.busy import takes_work
from separation.views.confirming import ask, confirmed
from separation.views.paging import newest_first
from separation.views.people import own, signed_in

FILTERS = (("", "All"), *((state.value, str(state.label).capitalize()) for state in JobState))


@login_required
@never_cache
@require_safe
def job_list(request: HttpRequest) -> HttpResponse:
    state = request.GET.get("state", "")
    if state not in dict(FILTERS):
        raise BadRequest("There is no such state. Choose one of the filters.")
    jobs = SeparationJob.objects.filter(owner=signed_in(request)).select_related("track")
    page = newest_first(request, jobs.filter(state=state) if state else jobs)
    return render(request, "jobs.html", {"page": page, "state": state, "filters": FILTERS})


@login_required
@never_cache
@require_safe
def job_page(request: HttpRequest, pk: Any) -> HttpResponse:
    job = _own_job(request, pk)
    return render(request, "job.html", job_context(job))


def job_context(job: SeparationJob) -> dict[str, Any]:
    """What the job page shows. The queue is asked only for a job that is in it."""
    return {
        "job": job,
        "track": job.track,
        "stems": _in_model_order(job),
        "attempts": list(job.attempts.all()),
        "place": services.place_in_queue(job),
        "took": _seconds_taken(job),
        **_better_model(job),
    }


def _seconds_taken(job: SeparationJob) -> float | None:
    return (job.finished_at - job.started_at).total_seconds() if job.started_at and job.finished_at else None


def _better_model(job: SeparationJob) -> dict[str, Any]:
    """The model for release quality and whether it is here, for a job made with one that is not; else nothing."""
    used = catalog.MODELS.get(job.model)
    if used is None or used.release_quality:
        return {}
    ready = catalog.is_ready(catalog.RELEASE_MODEL, Path(settings.MODEL_DIR))
    return {"better_model": catalog.MODELS[catalog.RELEASE_MODEL], "better_ready": ready}


def _in_model_order(job: SeparationJob) -> list[Any]:
    wanted = job.options.get("stems") or []
    order = {name: index for index, name in enumerate(vocals_first(wanted))}
    return sorted(job.stems.all(), key=lambda stem: order.get(stem.name, len(order)))


def _own_job(request: HttpRequest, pk: Any) -> SeparationJob:
    return own(request, SeparationJob.objects.select_related("track"), pk)


def _carry_out(request: HttpRequest, act: Callable[[], object], done: str) -> bool:
    """Do it and say so; a refusal is said instead. Returns whether it was done."""
    try:
        act()
    except ServiceError as error:
        messages.error(request, error.message)
        return False
    messages.success(request, done)
    return True


@action_of("job", "pk")
def cancel_job(request: HttpRequest, pk: Any) -> HttpResponse:
    job = _own_job(request, pk)
    if not confirmed(request):
        return _ask(request, job, "Cancel this separation?", "What was done so far is lost.", "Cancel it")
    _carry_out(request, lambda: services.cancel(job), "The separation was cancelled.")
    return redirect("job", job.pk)


@action_of("job", "pk")
@takes_work("separate")
def retry_job(request: HttpRequest, pk: Any) -> HttpResponse:
    job = _own_job(request, pk)
    _carry_out(request, lambda: services.retry(job), "It is in the queue again.")
    return redirect("job", job.pk)


@action_of("job", "pk")
def delete_job(request: HttpRequest, pk: Any) -> HttpResponse:
    job = _own_job(request, pk)
    if not confirmed(request):
        return _ask(request, job, "Delete this job and its stems?", "The uploaded track stays.", "Delete it")
    if not _carry_out(request, lambda: services.delete_job(job), "The job and its stems were deleted."):
        return redirect("job", job.pk)
    return redirect("jobs")


def _ask(request: HttpRequest, job: SeparationJob, question: str, consequence: str, verb: str) -> HttpResponse:
    back, about = reverse("job", args=[job.pk]), job.track.original_name
    return ask(request, question=question, consequence=consequence, verb=verb, about=about, back=back)
