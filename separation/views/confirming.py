"""Asking before something is lost: a script asks in a dialog, and without one the same post leads to a page.

Owns the one field that says "yes, I mean it".
"""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

FIELD = "confirmed"


def confirmed(request: HttpRequest) -> bool:
    """Whether this post comes from someone who was asked."""
    return request.POST.get(FIELD) == "yes"


def ask(request: HttpRequest, *, question: str, consequence: str, verb: str, about: str, back: str) -> HttpResponse:
    """The page that asks; its form posts to the same address again. `back` is where "no" leads. From a page of a
    list its cursor is handed on."""
    context = {"question": question, "consequence": consequence, "verb": verb, "about": about, "back": back}
    context["cursor"] = request.POST.get("cursor", "")
    return render(request, "confirm.html", context)
