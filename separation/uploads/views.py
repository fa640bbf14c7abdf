"""`/api/v1/uploads/`: the tus 1.0 protocol on Django's plain view layer, so that nothing reads a body but we.

Owns methods, statuses and headers. What happens is in `services`, how headers are read in `protocol`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.utils.http import http_date
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from rest_framework.response import Response

from separation.api.gate import refuse_when_busy
from separation.api.idempotency import is_replay, once
from separation.api.problems import Problem
from separation.api.shell import answered
from separation.services.numbers import number
from separation.tokens.authentication import SAFE_METHODS, Caller, require_caller
from separation.tokens.models import Scope
from separation.uploads import protocol, services
from separation.uploads.body import GuardedBody
from separation.uploads.models import Upload, UploadState
from separation.uploads.protocol import Checksum, Creation

OVERRIDABLE = frozenset({"PATCH", "DELETE", "HEAD"})
Handler = Callable[..., HttpResponse]


@method_decorator(csrf_exempt, name="dispatch")
class TusView(View):
    """What every tus address does: version, method override, who is asking, and problems for answers."""

    methods: frozenset[str]
    caller: Caller

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = answered(request, lambda: self._answer(request, **kwargs))
        response.headers["Tus-Resumable"] = protocol.VERSION
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    def _answer(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        method = self._method(request)
        if method not in self.methods:
            raise Problem(405, "method_not_allowed", headers={"Allow": ", ".join(sorted(self.methods))})
        if method == "OPTIONS":
            return self.options(request)
        if method != "GET":
            protocol.check_version(request.headers)
        unsafe = request.method not in SAFE_METHODS
        self.caller = require_caller(request, unsafe=unsafe)
        self.caller.require(Scope.SUBMIT if unsafe else Scope.READ)
        handler: Handler = getattr(self, method.lower())
        return handler(request, **kwargs)

    def _method(self, request: HttpRequest) -> str:
        """Clients behind proxies that only know POST name the real method in a header."""
        override = request.headers.get("X-HTTP-Method-Override", "").upper()
        if request.method == "POST" and override in OVERRIDABLE:
            return override
        return request.method or ""

    def options(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """What the server can do; needs no account."""
        response = HttpResponse(status=204)
        response.headers["Allow"] = ", ".join(sorted(self.methods))
        response.headers["Tus-Version"] = protocol.VERSION
        response.headers["Tus-Extension"] = protocol.EXTENSIONS
        response.headers["Tus-Checksum-Algorithm"] = ",".join(protocol.CHECKSUMS)
        response.headers["Tus-Max-Size"] = str(settings.MAX_UPLOAD_BYTES)
        return response


class UploadCollection(TusView):
    """POST creates an upload; its first bytes may come along."""

    methods = frozenset({"POST", "OPTIONS"})

    def post(self, request: HttpRequest) -> HttpResponse:
        wanted = protocol.creation(request.headers)
        announced = protocol.body_length(request.headers, required=False)
        checksum = protocol.checksum(request.headers)
        if announced:
            protocol.check_content_type(request.headers)
            if wanted.length is not None and announced > wanted.length:
                raise Problem(413, "too_large", "The body is longer than Upload-Length.")
        mark = [wanted.length, wanted.metadata, announced, request.headers.get("Upload-Checksum")]
        made = once(request, self.caller.user, mark, lambda: self._created(wanted))
        try:
            upload = self._begun(request, made, announced, checksum)
        except Problem as problem:
            problem.headers["Location"] = made.headers["Location"]
            raise
        response = _progress(HttpResponse(status=201), upload)
        response.headers["Location"] = made.headers["Location"]
        return response

    def _created(self, wanted: Creation) -> Response:
        refuse_when_busy("upload")
        upload = services.create_upload(self.caller.user, wanted)
        return Response({"id": str(upload.id)}, status=201, headers={"Location": f"/api/v1/uploads/{upload.id}/"})

    def _begun(self, request: HttpRequest, made: Response, announced: int, checksum: Checksum | None) -> Upload:
        """The upload with the bytes that came along. A repeated creation's are not taken again: its client goes on
        from where the first one left the upload."""
        upload = services.find(self.caller.user.pk, UUID(made.data["id"]))
        if is_replay(made):
            upload = _standing(upload)
            services.require_not_rejected(upload)
            return upload
        return _receive(request, upload, announced, offset=0, checksum=checksum) if announced else upload


class UploadDetail(TusView):
    """One upload: HEAD to resume, PATCH to go on, DELETE to end it, GET to read about it."""

    methods = frozenset({"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"})

    def get(self, request: HttpRequest, id: UUID) -> HttpResponse:
        upload = services.find(self.caller.user.pk, id)
        return _progress(JsonResponse(as_json(upload)), upload)

    def head(self, request: HttpRequest, id: UUID) -> HttpResponse:
        """Where to go on. A refused file still has its offset: the reason is in the answer to GET."""
        upload = _standing(services.find(self.caller.user.pk, id))
        response = _progress(HttpResponse(status=200), upload)
        if upload.metadata:
            response.headers["Upload-Metadata"] = upload.metadata
        return response

    def patch(self, request: HttpRequest, id: UUID) -> HttpResponse:
        protocol.check_content_type(request.headers)
        offset = protocol.upload_offset(request.headers)
        length = protocol.number(request.headers, "Upload-Length")
        announced = protocol.body_length(request.headers)
        checksum = protocol.checksum(request.headers)
        upload = services.find(self.caller.user.pk, id)
        if upload.state == UploadState.RECEIVING:
            upload = _receive(request, upload, announced, offset=offset, length=length, checksum=checksum)
        else:
            services.repeated(upload, offset=offset, announced=announced)
        return _progress(HttpResponse(status=204), upload)

    def delete(self, request: HttpRequest, id: UUID) -> HttpResponse:
        services.terminate(services.find(self.caller.user.pk, id))
        return HttpResponse(status=204)


def _receive(request: HttpRequest, upload: Upload, announced: int, **how: Any) -> Upload:
    stop_file = services.part_of(upload).stop_file
    stall = number("UPLOAD_STALL_SECONDS")
    with GuardedBody.of(request, announced, stop_file=stop_file, stall_seconds=stall) as body:
        return services.write(upload, body, announced=announced, **how)


def _standing(upload: Upload) -> Upload:
    """The upload with the offset to go on from; with the one last known when it cannot be settled now."""
    try:
        return services.settle(upload)
    except Problem as problem:
        if problem.status == 410:
            raise
        return services.find(upload.owner_id, upload.id)


def _progress(response: HttpResponse, upload: Upload) -> HttpResponse:
    """The headers that say how far the upload is."""
    response.headers["Upload-Offset"] = str(upload.offset)
    if upload.length is None:
        response.headers["Upload-Defer-Length"] = "1"
    else:
        response.headers["Upload-Length"] = str(upload.length)
    if upload.state == UploadState.RECEIVING:
        response.headers["Upload-Expires"] = http_date(upload.expires_at.timestamp())
    if upload.track_id:
        response.headers["Stemsite-Track"] = str(upload.track_id)
    return response


def as_json(upload: Upload) -> dict[str, Any]:
    """An upload as the API shows it; `track` is the Track's id once there is one."""
    return {
        "id": str(upload.id),
        "state": upload.state,
        "filename": upload.filename,
        "length": upload.length,
        "offset": upload.offset,
        "track": str(upload.track_id) if upload.track_id else None,
        "problem": {"code": upload.reason, "detail": upload.message} if upload.reason else None,
        "created_at": upload.created_at.isoformat(),
        "expires_at": upload.expires_at.isoformat(),
    }
