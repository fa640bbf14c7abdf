"""`/api/v1/tracks/`: list, look at, delete; and upload in one go with a streamed multipart POST."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from separation import services
from separation.api.base import ApiView
from separation.api.gate import refuse_when_busy
from separation.api.idempotency import is_answered, once
from separation.api.multipart import RawBody, Received, received_file
from separation.api.pagination import Page
from separation.api.parameters import CURSOR_PARAMETERS, IDEMPOTENCY_KEY, check_known
from separation.api.problems import not_found
from separation.api.serializers import TrackPage, TrackSerializer
from separation.models import Track
from separation.uploads import limits
from separation.uploads.oneshot import take_file


def own_track(view: ApiView, track_id: UUID) -> Track:
    """The caller's track. Raises 404 for anyone else's."""
    track = Track.objects.filter(owner=view.user, pk=track_id).first()
    if track is None:
        raise not_found()
    return track


class TrackList(ApiView):
    parser_classes = [RawBody]

    @extend_schema(operation_id="list_tracks", responses=TrackPage, parameters=CURSOR_PARAMETERS, tags=["tracks"])
    def get(self, request: Request) -> Response:
        """List your tracks."""
        check_known(request, "page_size", "cursor", "ordering")
        tracks: QuerySet[Track] = Track.objects.filter(owner=self.user)
        page = Page(request._request, tracks)
        return Response({"results": TrackSerializer(page.items, many=True).data, "next": page.next})

    @extend_schema(
        operation_id="create_track",
        request={
            "multipart/form-data": {
                "type": "object",
                "properties": {"file": {"type": "string", "format": "binary"}},
                "required": ["file"],
            }
        },
        responses={201: TrackSerializer},
        parameters=[IDEMPOTENCY_KEY],
        tags=["tracks"],
    )
    def post(self, request: Request) -> Response:
        """Upload a file in one request. For large files or bad connections use `/api/v1/uploads/` (tus)."""
        refuse_when_busy("upload")
        with received_file(request._request, self._check) as received:
            mark = [received.sha256, received.name]
            return once(request._request, self.user, mark, lambda: self._create(received))

    def _check(self, size: int) -> None:
        """What a repeated request sent was counted the first time."""
        if is_answered(self.request._request, self.user):
            limits.check_size(size)
            limits.check_disk(size)
        else:
            limits.check_creation(self.user, size)

    def _create(self, received: Received) -> Response:
        track = take_file(self.user, received.path, received.name, sha256=received.sha256)
        track.refresh_from_db()
        location = f"/api/v1/tracks/{track.pk}/"
        return Response(TrackSerializer(track).data, status=201, headers={"Location": location})


class TrackDetail(ApiView):
    @extend_schema(operation_id="get_track", responses=TrackSerializer, tags=["tracks"])
    def get(self, request: Request, id: UUID) -> Response:
        """Look at one of your tracks."""
        return Response(TrackSerializer(own_track(self, id)).data)

    @extend_schema(operation_id="delete_track", responses={204: OpenApiResponse(description="gone")}, tags=["tracks"])
    def delete(self, request: Request, id: UUID) -> Response:
        """Delete a track, its jobs and their stems. A job of it that runs is cancelled."""
        services.delete_track(own_track(self, id))
        return Response(status=204)
