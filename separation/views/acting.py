"""Views that only act, on a POST. Whoever may not, or comes by a link, is led to the page the action belongs to.

After a session ended, logging in leads back by GET: to an address that only acts, that would be a dead end.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, resolve_url
from django.views.decorators.http import require_http_methods

View = Callable[..., HttpResponse]


def action_of(page: str, *shared: str) -> Callable[[View], View]:
    """The view acts for people who are logged in; `shared` are the arguments that `page` has in common with it."""

    def decorated(view: View) -> View:
        @wraps(view)
        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            address = resolve_url(page, **{name: kwargs[name] for name in shared})
            if not request.user.is_authenticated:
                return redirect_to_login(address)
            return view(request, *args, **kwargs) if request.method == "POST" else redirect(address)

        return require_http_methods(["GET", "HEAD", "POST"])(answer)

    return decorated
