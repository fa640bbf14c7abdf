"""Memory in the Django admin: the live page, and read-only lists of what is on record."""

from typing import Any, cast

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.views.decorators.cache import never_cache

from memory.live import live_snapshot
from memory.models import (
    Host,
    Live,
    MemoryIncident,
    PeakObservation,
    Reservation,
    ServiceProcess,
    UsageSample,
)
from memory.quantities import format_bytes

COUNTED = 10_000
AT_ONCE = 500  # well below DATA_UPLOAD_MAX_NUMBER_FIELDS


class BoundedPaginator(Paginator):
    """Counts no further than COUNTED rows, so that a page of a long history costs what one of a short one does."""

    @cached_property
    def count(self) -> int:
        rows = cast("QuerySet[Model]", self.object_list)
        return rows.order_by()[:COUNTED].count()


class FewAtOnce(admin.ModelAdmin):
    """Actions on all rows of a list take no more than a request can: each is loaded, or named in a form."""

    unbounded: tuple[str, ...] = ()  # actions that are one statement, however many rows they change

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *location: Any, **named: Any
    ) -> HttpResponse | None:
        across = request.POST.get("select_across") == "1" and request.POST.get("action") not in self.unbounded
        if across and queryset.order_by()[: AT_ONCE + 1].count() > AT_ONCE:
            text = f"At most {AT_ONCE} at a time. Narrow the list down with the filters or the search, then try again."
            self.message_user(request, text, messages.WARNING)
            return HttpResponseRedirect(request.get_full_path())
        return super().response_action(request, queryset, *location, **named)


class ReadOnlyAdmin(FewAtOnce):
    """History is looked at, never edited: what these tables say is what happened."""

    paginator = BoundedPaginator
    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        del request
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        del request, obj
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        del request, obj
        return False


def size_column(field: str, title: str) -> Any:
    """A column that shows a field of bytes as people read it; nothing where nothing was measured."""

    @admin.display(description=title, ordering=field)
    def column(row: Model) -> str:
        size = getattr(row, field)
        return format_bytes(size) if size else ""

    column.__name__ = f"{field}_size"
    return column


@admin.register(Live)
class LiveAdmin(ReadOnlyAdmin):
    """The live page stands where the list of a model would."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.changelist_view), name="memory_live_changelist"),
            path("data/", view(never_cache(self.data)), name="memory_live_data"),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            return self._refuse(request)
        context = {
            **self.admin_site.each_context(request),
            "title": "Live memory",
            "opts": self.opts,
            "data_url": reverse(f"{self.admin_site.name}:memory_live_data"),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "memory/live.html", context)

    def data(self, request: HttpRequest) -> HttpResponse:
        """The live picture as JSON; what the page asks for every two seconds."""
        if not self.has_view_permission(request):
            return JsonResponse({"detail": "You may not see this."}, status=403)
        return JsonResponse(live_snapshot())

    def _refuse(self, request: HttpRequest) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "title": "You may not see this"}
        return TemplateResponse(request, "memory/refused.html", context, status=403)


@admin.register(Host)
class HostAdmin(ReadOnlyAdmin):
    list_display = (
        "name",
        size_column("effective_bytes", "memory"),
        size_column("available_bytes", "available"),
        size_column("budget_bytes", "budget"),
        "version",
        "workers_seen",
        "last_seen",
    )


@admin.register(Reservation)
class ReservationAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "label",
        "kind",
        "state",
        size_column("bytes", "estimate"),
        size_column("peak_bytes", "actual peak"),
        "share",
        size_column("limit_bytes", "limit"),
        "created_at",
    )
    list_filter = ("heavy", "expired", "host")
    search_fields = ("=key",)
    ordering = ("-id",)

    @admin.display
    def state(self, row: Reservation) -> str:
        if row.expired:
            return "holder lost"
        if row.released_at:
            return "released"
        return "held" if row.expires_at > timezone.now() else "lease ran out"

    @admin.display(description="actual / estimate")
    def share(self, row: Reservation) -> str:
        return percent(row.peak_bytes, row.bytes)


@admin.register(PeakObservation)
class PeakObservationAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "kind",
        "feature_key",
        size_column("estimated_bytes", "estimate"),
        size_column("observed_bytes", "actual peak"),
        "share",
        "kept_to",
        "at",
    )
    list_filter = ("kind",)
    search_fields = ("feature_key",)
    ordering = ("-id",)

    @admin.display(description="actual / estimate")
    def share(self, row: PeakObservation) -> str:
        return percent(row.observed_bytes, row.estimated_bytes)

    @admin.display(description="within estimate", boolean=True)
    def kept_to(self, row: PeakObservation) -> bool:
        return not row.was_low


@admin.register(MemoryIncident)
class MemoryIncidentAdmin(ReadOnlyAdmin):
    list_display = (
        "at",
        "kind",
        "operation_kind",
        "operation_key",
        size_column("peak_bytes", "peak"),
        size_column("limit_bytes", "limit"),
        "message",
        "host",
    )
    list_filter = ("kind", "host")
    search_fields = ("=operation_key",)


@admin.register(ServiceProcess)
class ServiceProcessAdmin(ReadOnlyAdmin):
    list_display = (
        "role",
        "pid",
        "host",
        size_column("rss_bytes", "resident"),
        size_column("peak_bytes", "peak"),
        "accepting",
        "reason",
        "last_seen",
    )


@admin.register(UsageSample)
class UsageSampleAdmin(ReadOnlyAdmin):
    list_display = (
        "at",
        "subject",
        "subject_key",
        "host",
        size_column("bytes", "used"),
        size_column("available_bytes", "available"),
        "resolution",
    )
    list_filter = ("subject", "host")
    ordering = ("-id",)


def percent(actual: int, estimated: int) -> str:
    """ "87 %", or nothing where there is nothing to compare."""
    return f"{100 * actual / estimated:.0f} %" if actual and estimated else ""
