"""The setup page and the way to it: while there is no user, every page leads here. Owns no rule about codes."""

from collections.abc import Callable

from django.conf import settings
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from separation import setup
from separation.forms import SetupForm

NOT_PAGES = (settings.STATIC_URL, "/api/", "/setup/", "/metrics")
BACKEND = "django.contrib.auth.backends.ModelBackend"


class FirstStart:
    """Middleware: redirects every page to the setup page until there is a user."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.done = False

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if self._leads_to_setup(request):
            return redirect("setup")
        return self.get_response(request)

    def _leads_to_setup(self, request: HttpRequest) -> bool:
        if self.done or request.path.startswith(NOT_PAGES):
            return False
        self.done = not setup.is_needed()
        return not self.done


@never_cache
@sensitive_post_parameters("code", "password1", "password2")
@require_http_methods(["GET", "HEAD", "POST"])
def first_account(request: HttpRequest) -> HttpResponse:
    if not setup.is_needed():
        return redirect("home")
    form = SetupForm(request.POST or None)
    try:
        return _create(request, form)
    except setup.TooManyGuesses as error:
        answer = _page(request, SetupForm(), problem=str(error), status=429)
        answer.headers["Retry-After"] = str(error.retry_after)
        return answer


def _create(request: HttpRequest, form: SetupForm) -> HttpResponse:
    if not form.is_valid():
        return _page(request, form, status=400 if form.is_bound else 200)
    try:
        user = setup.create_first_account(form.save)
    except setup.AlreadySetUp:
        return redirect("login")
    login(request, user, backend=BACKEND)
    return redirect("home")


def _page(request: HttpRequest, form: SetupForm, *, problem: str = "", status: int = 200) -> HttpResponse:
    return render(request, "setup.html", {"form": form, "problem": problem}, status=status)
