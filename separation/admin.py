"""The job history in the Django admin: read, filter, search, cancel, try again.

Owns the lists and their columns; what the actions do is `separation.services`'. Nothing here counts or scans a
table of a million jobs: lists follow indexes, counts stop early, searches look things up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.timesince import timesince
from django.utils.timezone import localtime

from memory.admin import FewAtOnce, ReadOnlyAdmin, size_column
from memory.quantities import format_bytes
from separation import services
from separation.errors import ServiceError
from separation.models import Attempt, JobEvent, JobState, SeparationJob, Stem, Track, WorkerCluster
from separation.templatetags.pages import describe_options

TIMES = ("created", "queued", "started", "finished")
FOUND = 200
"""How many tracks of a name a search looks at."""


def moment(field: str, title: str) -> Any:
    """A column that shows a moment to the second: attempts and events follow each other within a minute."""

    @admin.display(description=title, ordering=field)
    def column(row: Model) -> str:
        at = getattr(row, field)
        return "" if at is None else localtime(at).strftime("%Y-%m-%d %H:%M:%S")

    column.__name__ = f"{field}_moment"
    return column


class DeletedEach(admin.ModelAdmin):
    """What several chosen rows need before they go, each of them needs: they are deleted like one alone."""

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for row in queryset:
            self.delete_model(request, row)


class ReadOnlyInline(admin.TabularInline):
    """Rows that belong to a job; shown, never edited."""

    extra = 0
    classes = ("scrolls",)
    can_delete = False
    show_change_link = False

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        del request, obj
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        del request, obj
        return False


class AttemptInline(ReadOnlyInline):
    model = Attempt
    fields = (
        "number",
        "host",
        "lean",
        moment("started_at", "started"),
        moment("ended_at", "ended"),
        "outcome",
        "reason",
        size_column("estimate_bytes", "estimated"),
        size_column("peak_bytes", "peak"),
        size_column("limit_bytes", "limit"),
        "cpu_seconds",
        "enforced_by",
        "message",
        "stderr_tail",
    )
    readonly_fields = fields

    @admin.display(description="enforced by")
    def enforced_by(self, attempt: Attempt) -> str:
        return ", ".join(attempt.layers)


class EventInline(ReadOnlyInline):
    model = JobEvent
    fields = (moment("at", "at"), "attempt_number", "kind", "message")
    readonly_fields = fields


class StemInline(ReadOnlyInline):
    model = Stem
    fields = ("name", "format", size_column("size", "size"), "samples", "sample_rate", "stored_as", "sha256")
    readonly_fields = fields

    @admin.display(description="stored as")
    def stored_as(self, stem: Stem) -> str:
        """A name and no link: what is stored is somebody's, and served to nobody else."""
        return stem.file.name or ""


class StateFilter(admin.SimpleListFilter):
    """By state; a plain choice, without counting what each would find."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        del request, model_admin
        return [(state.value, state.label) for state in JobState]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        del request
        return queryset.filter(state=self.value()) if self.value() in JobState.values else queryset


class ReasonFilter(admin.SimpleListFilter):
    """By why a job failed."""

    title = "reason"
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        del request, model_admin
        from separation.errors import ReasonCode

        return [(code.value, code.value.replace("_", " ")) for code in ReasonCode]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        del request
        return queryset.filter(reason=self.value()) if self.value() else queryset


@admin.register(SeparationJob)
class SeparationJobAdmin(DeletedEach, ReadOnlyAdmin):
    list_display = (
        "track",
        "owner",
        "model",
        "shown_state",
        moment("created_at", "created"),
        "took",
        "tries",
        "memory",
    )
    list_display_links = ("track",)
    list_filter = (StateFilter, ReasonFilter, "created_at")
    list_select_related = ("track", "owner")
    search_fields = ("id",)  # how each term is looked up: get_search_results
    search_help_text = "a job's or track's id, a user name, or part of a file name"
    ordering = ("-created_at", "-id")
    sortable_by = ()  # other orders would sort the whole table
    actions = ("cancel_jobs", "retry_jobs")
    show_facets = admin.ShowFacets.NEVER
    inlines = (AttemptInline, EventInline, StemInline)

    class Media:
        css = {"all": ("css/admin.css",)}

    fieldsets = (
        (None, {"fields": ("track", "owner", "model", "asked_for", "priority")}),
        ("State", {"fields": ("shown_state", "message", "phase", "progress", "waiting_reason", "host", "lean")}),
        (
            "Memory",
            {
                "fields": (
                    size_column("estimate_bytes", "estimated"),
                    size_column("reserved_bytes", "reserved"),
                    size_column("current_bytes", "now"),
                    size_column("peak_bytes", "peak"),
                    size_column("limit_bytes", "limit"),
                    "of_estimate",
                )
            },
        ),
        ("Time", {"fields": (*(moment(f"{name}_at", name) for name in TIMES), "not_before", "took")}),
        ("Record", {"fields": ("options", "result", "fingerprint"), "classes": ("collapse",)}),
    )

    @admin.display(description="state")
    def shown_state(self, job: SeparationJob) -> str:
        if job.state == JobState.RUNNING:
            return format_html("running <small>{}</small>", f"{job.progress:.0%}")
        return format_html("{} <small>{}</small>", job.state, job.reason) if job.reason else job.state

    @admin.display(description="took")
    def took(self, job: SeparationJob) -> str:
        if job.started_at is None or job.finished_at is None:
            return ""
        return f"{(job.finished_at - job.started_at).total_seconds():.1f} s"

    @admin.display(description="peak / estimate")
    def of_estimate(self, job: SeparationJob) -> str:
        return f"{job.peak_bytes / job.estimate_bytes:.0%}" if job.peak_bytes and job.estimate_bytes else ""

    @admin.display(description="tries")
    def tries(self, job: SeparationJob) -> int:
        return job.attempt_number

    @admin.display(description="peak")
    def memory(self, job: SeparationJob) -> str:
        return f"{self.of_estimate(job) or '–'} of {format_bytes(job.estimate_bytes)}"

    @admin.display(description="asked for")
    def asked_for(self, job: SeparationJob) -> str:
        return describe_options(job.options)

    @admin.display(description="waits because")
    def waiting_reason(self, job: SeparationJob) -> str:
        return services.waiting_reason(job)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        del request
        term = search_term.strip()
        return (queryset.filter(jobs_matching(term)) if term else queryset), False

    # --- actions

    def has_manage_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("separation.change_separationjob")

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        del obj
        return request.user.has_perm("separation.delete_separationjob")

    def delete_model(self, request: HttpRequest, obj: SeparationJob) -> None:
        del request
        services.delete_job(obj)

    @admin.action(description="Cancel", permissions=["manage"])
    def cancel_jobs(self, request: HttpRequest, jobs: QuerySet[SeparationJob]) -> None:
        self._each(request, jobs, services.cancel, "cancelled")

    @admin.action(description="Try again", permissions=["manage"])
    def retry_jobs(self, request: HttpRequest, jobs: QuerySet[SeparationJob]) -> None:
        self._each(request, jobs, services.retry, "queued again")

    def _each(
        self,
        request: HttpRequest,
        jobs: QuerySet[SeparationJob],
        act: Callable[[SeparationJob], object],
        done: str,
    ) -> None:
        count = 0
        for job in jobs.order_by("created_at"):
            try:
                act(job)
                count += 1
            except ServiceError as refusal:
                self.message_user(request, f"{job.track} ({job.pk}): {refusal.message}", messages.WARNING)
        if count:
            self.message_user(request, f"{count} {'job' if count == 1 else 'jobs'} {done}.", messages.SUCCESS)


def jobs_matching(term: str) -> Q:
    """Jobs that a person may mean by `term`, a user's name or part of a file's, found through indexes."""
    key = _uuid(term)
    if key is not None:
        return Q(pk=key) | Q(track_id=key)
    owner = get_user_model().objects.filter(username__iexact=term).values_list("pk", flat=True).first()
    if owner is not None:
        return Q(owner_id=owner)
    tracks = Track.objects.filter(original_name__icontains=term).order_by("-created_at", "-id")
    return Q(track_id__in=list(tracks.values_list("pk", flat=True)[:FOUND]))


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


@admin.register(Track)
class TrackAdmin(DeletedEach, ReadOnlyAdmin):
    list_display = (
        "original_name",
        "owner",
        size_column("size", "size"),
        "length",
        "codec",
        "sample_rate",
        "channels",
        "created_at",
    )
    list_select_related = ("owner",)
    list_filter = ("created_at",)
    search_fields = ("original_name",)
    search_help_text = "part of a file name"
    ordering = ("-created_at", "-id")
    sortable_by = ()
    show_facets = admin.ShowFacets.NEVER
    fieldsets = (
        (None, {"fields": ("original_name", "owner", "title", "artist", "created_at")}),
        ("Sound", {"fields": ("length", "container", "codec", "sample_rate", "channels")}),
        ("File", {"fields": (size_column("size", "size"), "sha256", "stored_as")}),
    )

    @admin.display(description="stored as")
    def stored_as(self, track: Track) -> str:
        return track.file.name or ""

    @admin.display(description="length")
    def length(self, track: Track) -> str:
        if track.duration_seconds is None:
            return ""
        minutes, seconds = divmod(int(track.duration_seconds), 60)
        return f"{minutes}:{seconds:02}"

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        del obj
        return request.user.has_perm("separation.delete_track")

    def delete_model(self, request: HttpRequest, obj: Track) -> None:
        del request
        services.delete_track(obj)


admin.site.unregister(User)


@admin.register(User)
class PersonAdmin(DeletedEach, FewAtOnce, UserAdmin):
    """Django's own, with as many at a time as a request can take."""

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        """The person is locked before what is theirs, as by whoever counts a request of theirs."""
        with transaction.atomic():
            User.objects.select_for_update().filter(pk=obj.pk).values_list("pk").first()
            super().delete_model(request, obj)


@admin.register(WorkerCluster)
class WorkerClusterAdmin(ReadOnlyAdmin):
    list_display = ("host", "pid", "started_at", "answered_at", "silent_for")

    @admin.display(description="waits for an answer since")
    def silent_for(self, cluster: WorkerCluster) -> str:
        return timesince(cluster.pinged_at) if cluster.pinged_at else ""
