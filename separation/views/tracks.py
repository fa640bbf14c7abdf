"""The tracks a person has uploaded: list, separate again with other options, delete. Owns requests only."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from separation import services
from separation.errors import ServiceError
from separation.forms import OptionsForm
from separation.models import Track
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
    form = OptionsForm(request.POST or None)
    if form.is_valid():
        try:
            return redirect("job", services.submit(signed_in(request), track, form.cleaned_data["options"]).pk)
        except ServiceError as error:
            form.add_error(None, error.message)
    context = {**options_context(form), "track": track}
    return render(request, "track_separate.html", context, status=400 if form.is_bound else 200)


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
