"""Webhooks in the admin: the endpoints, and a log of what was sent, with a way to send again."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from memory.admin import FewAtOnce
from separation.webhooks.models import Delivery, DeliveryState, Endpoint


@admin.register(Endpoint)
class EndpointAdmin(FewAtOnce):
    list_display = ["url", "owner", "job", "active", "created_at"]
    list_filter = ["active"]
    search_fields = ["url", "owner__username"]
    list_select_related = ["owner"]
    fields = ["owner", "url", "job", "active", "created_at"]
    readonly_fields = ["owner", "url", "job", "created_at"]
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


@admin.register(Delivery)
class DeliveryAdmin(FewAtOnce):
    list_display = ["event", "endpoint", "state", "attempts", "status", "error", "created_at", "next_attempt_at"]
    list_filter = ["state", "event"]
    search_fields = ["endpoint__url", "endpoint__owner__username"]
    list_select_related = ["endpoint"]
    show_full_result_count = False
    actions = ["send_again"]
    unbounded = ("send_again",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Delivery | None = None) -> bool:
        return obj is None and super().has_change_permission(request, obj)

    @admin.action(description="Send the chosen messages again", permissions=["change"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        count = queryset.update(state=DeliveryState.WAITING, attempts=0, next_attempt_at=timezone.now())
        self.message_user(request, f"{count} will be sent shortly.")
