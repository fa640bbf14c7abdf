"""A person's account: password, API tokens, use against limits. Owns requests only."""

from datetime import timedelta

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import PasswordChangeView
from django.contrib.messages.views import SuccessMessageMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from separation.errors import ServiceError
from separation.tokens.models import Scope
from separation.tokens.services import DEFAULT_SCOPES, create_token, list_tokens
from separation.tokens.services import revoke_token as revoke
from separation.usage import usage_of
from separation.views.acting import action_of
from separation.views.people import signed_in


class TokenForm(forms.Form):
    """A name, how long, and what for."""

    name = forms.CharField(max_length=100, widget=forms.TextInput(attrs={"placeholder": "Laptop script"}))
    days = forms.TypedChoiceField(
        label="Valid for",
        coerce=int,
        choices=[(30, "30 days"), (90, "90 days"), (365, "a year"), (0, "ever")],
        initial=90,
    )
    scopes = forms.MultipleChoiceField(label="May", choices=Scope.choices, initial=list(DEFAULT_SCOPES))


@login_required
@never_cache
@require_safe
def account(request: HttpRequest) -> HttpResponse:
    return _page(request, TokenForm())


def _page(
    request: HttpRequest, form: TokenForm, *, secret: str = "", problem: str = "", status: int = 200
) -> HttpResponse:
    user = signed_in(request)
    context = {
        "form": form,
        "secret": secret,
        "problem": problem,
        "tokens": list_tokens(user),
        "scopes": [choice for choice in Scope.choices if choice[0] != Scope.STAFF or user.is_staff],
        "usage": usage_of(user),
    }
    return render(request, "account.html", context, status=status)


class ChangePassword(SuccessMessageMixin, PasswordChangeView):
    """Django's own view, with our page and a word of success."""

    template_name = "password_change.html"
    success_url = reverse_lazy("account")
    success_message = "Your password was changed."


@action_of("account")
@never_cache
def make_token(request: HttpRequest) -> HttpResponse:
    """The answer shows the new token: the only time, so it is no redirect."""
    form = TokenForm(request.POST)
    if not form.is_valid():
        return _page(request, form, status=400)
    days = form.cleaned_data["days"]
    expires_at = timezone.now() + timedelta(days=days) if days else None
    try:
        _, secret = create_token(signed_in(request), form.cleaned_data["name"], form.cleaned_data["scopes"], expires_at)
    except ServiceError as error:
        return _page(request, form, problem=error.message, status=error.http_status)
    return _page(request, TokenForm(), secret=secret)


@action_of("account")
def revoke_token(request: HttpRequest, pk: int) -> HttpResponse:
    if revoke(signed_in(request), pk):
        messages.success(request, "The token was revoked. Nothing can be done with it any more.")
    return redirect("account")
