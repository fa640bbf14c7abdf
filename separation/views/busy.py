"""No new work while this process holds too much: the API's gate, answered with a page."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from separation.api.gate import refuse_when_busy
from separation.api.problems import Problem

View = Callable[..., HttpResponse]


def takes_work(operation: str) -> Callable[[View], View]:
    """A POST to the view is work of that kind; 503 with Retry-After, and its body unread, while none is taken."""

    def guarded(view: View) -> View:
        @wraps(view)
        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            try:
                if request.method == "POST":
                    refuse_when_busy(operation)
            except Problem as problem:
                page = render(request, "errors/503.html", {"reason": problem.detail}, status=problem.status)
                for name, value in problem.headers.items():
                    page.headers[name] = value
                return page
            return view(request, *args, **kwargs)

        return answer

    return guarded
