"""The first page: drop files, choose, separate; the same by a plain form post; and the demo song.

Owns the requests only. With JavaScript the page talks to the API; what is here serves everyone else.
"""

from pathlib import Path

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods

from separation import demo, services
from separation.api.problems import Problem, from_service_error
from separation.errors import ServiceError
from separation.forms import UploadForm
from separation.models import SeparationJob
from separation.options import SeparationOptions
from separation.uploads import limits
from separation.uploads.body import announced
from separation.uploads.oneshot import take_file
from separation.views.acting import action_of
from separation.views.bodies import take_files, take_short_form
from separation.views.busy import takes_work
from separation.views.choices import options_context
from separation.views.people import signed_in

FORM_ALLOWANCE = 64 * 1024  # bytes of a multipart body besides its files


@never_cache
@csrf_exempt  # checked in the inner view: the check reads the body, which must be refused by length before
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes_work("upload")
def home(request: HttpRequest) -> HttpResponse:
    try:
        return (request.method == "POST" and _take_form(request)) or _home(request)
    except (Problem, ServiceError) as refusal:
        return _refused(request, _problem(refusal))


def _take_form(request: HttpRequest) -> HttpResponse | None:
    """An answer when the form is refused unread, for its length. Raises `Problem` when another limit refuses it."""
    if request.content_type != "multipart/form-data":
        return take_short_form(request)
    length = announced(request)
    if length > int(settings.MAX_UPLOAD_BYTES) + FORM_ALLOWANCE:
        return render(request, "errors/413.html", {"limit": settings.MAX_UPLOAD_BYTES}, status=413)
    limits.check_creation(signed_in(request), max(1, length - FORM_ALLOWANCE))
    take_files(request)
    return None


def _refused(request: HttpRequest, problem: Problem) -> HttpResponse:
    """The page anew, for a form that was not read, or not to its end."""
    messages.error(request, problem.detail)
    page = render(request, "home.html", _context(UploadForm()), status=problem.status)
    for name, value in problem.headers.items():
        page.headers[name] = value
    return page


def _problem(refusal: Problem | ServiceError) -> Problem:
    return refusal if isinstance(refusal, Problem) else from_service_error(refusal)


@csrf_protect
def _home(request: HttpRequest) -> HttpResponse:
    form = UploadForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        return _separate_all(request, form)
    status = 400 if form.is_bound or request.method == "POST" else 200
    return render(request, "home.html", _context(form), status=status)


def _context(form: UploadForm) -> dict[str, object]:
    return {**options_context(form), "max_upload": settings.MAX_UPLOAD_BYTES}


def _separate_all(request: HttpRequest, form: UploadForm) -> HttpResponse:
    jobs: list[SeparationJob] = []
    refused: set[int] = set()
    for file in form.cleaned_data["file"]:
        try:
            jobs.append(_separate(request, file, form.cleaned_data["options"]))
        except (Problem, ServiceError) as refusal:
            problem = _problem(refusal)
            refused.add(problem.status)
            messages.error(request, f"{file.name}: {problem.detail}")
    if not jobs:
        return render(request, "home.html", _context(form), status=refused.pop() if len(refused) == 1 else 422)
    return redirect("job", jobs[0].pk) if len(jobs) == 1 else redirect("jobs")


def _separate(request: HttpRequest, file: TemporaryUploadedFile, options: SeparationOptions) -> SeparationJob:
    user, path, name = signed_in(request), Path(file.temporary_file_path()), file.name or "track"
    return services.submit(user, take_file(user, path, name), options)


@action_of("home")
@takes_work("separate")
def try_demo(request: HttpRequest) -> HttpResponse:
    try:
        job = demo.separate_demo(signed_in(request))
    except (Problem, ServiceError) as refusal:
        messages.error(request, _problem(refusal).detail)
        return redirect("home")
    return redirect("job", job.pk)
