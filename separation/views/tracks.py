"""The tracks a person has uploaded: list, separate again with other options, delete. Owns requests only."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from separation import services
from separation.errors import ServiceError
from separation.forms import OptionsForm, fields_of
from separation.models import SeparationJob, Track
from separation.options import SeparationOptions
from separation.views.acting import action_of
from separation.views.busy import takes_work
from separation.views.choices import options_context
from separation.views.confirming import ask, confirmed
from separation.views.paging import newest_first, page_at
from separation.views.people import own, signed_in


@login_required
@never_cache
@require_safe
def track_list(request: HttpRequest) -> HttpResponse:
    tracks = Track.objects.filter(owner=signed_in(request))
    return render(request, "tracks.html", {"page": newest_first(request, tracks)})


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@takes_work("separate")
def separate_track(request: HttpRequest, pk: Any) -> HttpResponse:
    track = own(request, Track.objects.all(), pk)
    form = OptionsForm(request.POST or None, initial=_like(request))
    if form.is_valid():
        try:
            return _separate(request, track, form.cleaned_data["options"])
        except ServiceError as error:
            form.add_error(None, error.message)
    context = {**options_context(form), "track": track}
    return render(request, "track_separate.html", context, status=400 if form.is_bound else 200)


def _separate(request: HttpRequest, track: Track, options: SeparationOptions) -> HttpResponse:
    job = services.submit(signed_in(request), track, options)
    if job.reused:  # type: ignore[attr-defined]  # set by `submit`
        messages.info(request, "This music was separated with these options before; here is the result.")
    return redirect("job", job.pk)


def _like(request: HttpRequest) -> dict[str, Any]:
    """What the form begins with: the choices of the job that the address names, where the user has such a one."""
    try:
        job = SeparationJob.objects.filter(owner=signed_in(request), pk=UUID(request.GET.get("like", ""))).first()
        return fields_of(SeparationOptions.parse(job.options)) if job else {}
    except ValueError:  # no job's id, or a model that is not offered any more
        return {}


@action_of("tracks")
def delete_track(request: HttpRequest, pk: Any) -> HttpResponse:
    track = own(request, Track.objects.all(), pk)
    if not confirmed(request):
        return _ask(request, track)
    try:
        services.delete_track(track)
    except ServiceError as error:
        messages.error(request, error.message)
    else:
        messages.success(request, "The track, its jobs and their stems were deleted.")
    return redirect(_list(request))


def _list(request: HttpRequest) -> str:
    """The page of the list that the form was on."""
    return page_at(reverse("tracks"), request.POST.get("cursor", ""))


def _ask(request: HttpRequest, track: Track) -> HttpResponse:
    return ask(
        request,
        question="Delete this track?",
        consequence="Its jobs and all their stems go with it.",
        verb="Delete it",
        about=track.original_name,
        back=_list(request),
    )
