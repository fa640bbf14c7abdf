"""Access tokens in the admin: made there (the text is shown once), listed, revoked; never edited."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db.models import QuerySet
from django.forms import ModelForm, MultipleChoiceField
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from memory.admin import FewAtOnce
from separation.errors import ServiceError
from separation.tokens.models import AccessToken, Scope
from separation.tokens.services import DEFAULT_SCOPES, check_token, create_token


class NewTokenForm(ModelForm):
    scopes = MultipleChoiceField(choices=Scope.choices, initial=list(DEFAULT_SCOPES))

    class Meta:
        model = AccessToken
        fields = ["user", "name", "scopes", "expires_at"]

    def clean(self) -> dict[str, Any]:
        """What the service would refuse is said beside the field."""
        data = super().clean() or self.cleaned_data
        if self.errors:
            return data
        try:
            check_token(data["user"], data["name"], data["scopes"], data["expires_at"])
        except ServiceError as error:
            raise ValidationError({error.field or NON_FIELD_ERRORS: error.message}) from error
        return data


@admin.register(AccessToken)
class AccessTokenAdmin(FewAtOnce):
    form = NewTokenForm
    list_display = ["name", "user", "hint", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at"]
    list_filter = ["revoked_at"]
    search_fields = ["name", "user__username", "hint"]
    list_select_related = ["user"]
    raw_id_fields = ["user"]
    actions = ["revoke"]
    unbounded = ("revoke",)

    def has_change_permission(self, request: HttpRequest, obj: AccessToken | None = None) -> bool:
        return obj is None and super().has_change_permission(request, obj)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """What the service refuses though the form let it through, because somebody was faster, is said as well."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except ServiceError as error:
            self.message_user(request, error.message, messages.ERROR)
            return redirect(request.get_full_path())

    def save_model(self, request: HttpRequest, obj: AccessToken, form: ModelForm, change: bool) -> None:
        """Makes the token through the service; its text appears in a message and nowhere else."""
        made, text = create_token(obj.user, obj.name, obj.scopes, obj.expires_at)
        obj.pk, obj.created_at = made.pk, made.created_at
        obj.digest, obj.hint = made.digest, made.hint
        self.message_user(request, f"The token, shown this once: {text}", messages.SUCCESS)

    @admin.action(description="Revoke the chosen tokens", permissions=["delete"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[AccessToken]) -> None:
        count = queryset.filter(revoked_at__isnull=True).update(revoked_at=timezone.now())
        self.message_user(request, f"Revoked {count}.")
