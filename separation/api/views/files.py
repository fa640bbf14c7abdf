"""Stems as files, all stems of a job as one zip, and signed links to both.

Plain views: what they send is not JSON, and a signed link needs no account.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from memory.streaming import StreamingFileHandler
from separation.api import links
from separation.api.downloads import Download, serve
from separation.api.problems import Problem, not_found
from separation.api.shell import answered
from separation.filenames import with_ending
from separation.formats import FORMATS
from separation.models import JobState, SeparationJob, Stem
from separation.services.archives import stems_archive
from separation.tokens.authentication import require_caller
from separation.tokens.models import Scope
from separation.zips import ZipLayout


@method_decorator(csrf_exempt, name="dispatch")
class FileView(View):
    """GET and HEAD of one file, for its owner or the holder of a signed link."""

    http_method_names = ["get", "head", "options"]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return answered(request, lambda: self._answer(request, **kwargs))

    def _answer(self, request: HttpRequest, id: UUID) -> HttpResponseBase:
        if request.method == "OPTIONS":
            return HttpResponse(status=204, headers={"Allow": "GET, HEAD, OPTIONS"})
        if request.method not in ("GET", "HEAD"):
            raise Problem(405, "method_not_allowed", headers={"Allow": "GET, HEAD, OPTIONS"})
        if links.is_signed(request):
            return serve(request, self.download(request, id, owner=None))
        caller = require_caller(request)
        caller.require(Scope.READ)
        return serve(request, self.download(request, id, owner=caller.user.pk))

    def download(self, request: HttpRequest, id: UUID, *, owner: int | None) -> Download:
        """The file; of anyone with an active account when `owner` is None. Raises 404."""
        raise NotImplementedError


class StemAudio(FileView):
    def download(self, request: HttpRequest, id: UUID, *, owner: int | None) -> Download:
        stem = Stem.objects.select_related("job__track").filter(pk=id, **_owned("job__owner", owner)).first()
        if stem is None or not stem.file:
            raise not_found()
        return Download(
            filename=stem.download_name,
            content_type=FORMATS[stem.format].mime if stem.format in FORMATS else "application/octet-stream",
            size=stem.size,
            etag=f'"{stem.sha256}"',
            modified=stem.created_at,
            read=reader(stem),
            inline=request.GET.get("inline") == "1",
        )


class StemsZip(FileView):
    def download(self, request: HttpRequest, id: UUID, *, owner: int | None) -> Download:
        job = SeparationJob.objects.select_related("track").filter(pk=id, **_owned("owner", owner)).first()
        if job is None:
            raise not_found()
        layout = stems_archive(job)
        if job.state != JobState.SUCCEEDED or not layout.entries:
            raise Problem(409, "not_allowed_now", "The job has no stems to download.")
        return Download(
            filename=with_ending(job.track.display_name, " - stems.zip"),
            content_type="application/zip",
            size=layout.size,
            etag=f'"{layout.etag}"',
            modified=max(entry.modified for entry in layout.entries),
            read=archive_reader(layout),
        )


def _owned(field: str, owner: int | None) -> dict[str, int | bool]:
    """A link opens what is its owner's as long as the owner has an account."""
    return {f"{field}__is_active": True} if owner is None else {field: owner}


def reader(stem: Stem) -> Callable[[int, int], Iterator[bytes]]:
    """Reads a part of a stem from storage; the file is opened when the first byte is wanted."""

    def read(start: int, length: int) -> Iterator[bytes]:
        yield from StreamingFileHandler().iter_range(_opened(stem), start, length)

    return read


def archive_reader(layout: ZipLayout) -> Callable[[int, int], Iterator[bytes]]:
    """Reads a part of an archive. Every member is opened once before the first byte: none is found missing midway."""

    def read(start: int, length: int) -> Iterator[bytes]:
        for entry in layout.entries:
            entry.open().close()
        yield from layout.iter_range(start, start + length)

    return read


def _opened(stem: Stem) -> BinaryIO:
    return cast(BinaryIO, stem.file.storage.open(stem.file.name or "", "rb"))
