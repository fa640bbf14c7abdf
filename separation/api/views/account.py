"""Your access tokens and webhooks through the API."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from separation.api.base import ApiView
from separation.api.problems import Problem, not_found
from separation.tokens.models import AccessToken, Scope
from separation.tokens.services import create_token, list_tokens, revoke_token
from separation.webhooks.models import Endpoint
from separation.webhooks.services import add_endpoint, job_secret, list_endpoints, remove_endpoint


class TokenSerializer(serializers.ModelSerializer):
    """A token, without its text."""

    scopes = serializers.ListField(child=serializers.ChoiceField(choices=Scope.choices))

    class Meta:
        model = AccessToken
        fields = ["id", "name", "hint", "scopes", "created_at", "expires_at", "last_used_at"]
        read_only_fields = fields


class NewTokenSerializer(TokenSerializer):
    """A token with its text, which is shown this once."""

    token = serializers.CharField()

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "token"]


class TokenRequestSerializer(serializers.Serializer):
    """A name to know it by, what it may do, and until when."""

    name = serializers.CharField(min_length=1, max_length=100)
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=Scope.choices), min_length=1, required=False)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class TokenListSerializer(serializers.Serializer):
    """All tokens that have not been revoked."""

    results = TokenSerializer(many=True)


class WebhookSerializer(serializers.ModelSerializer):
    """An address that is told when a job of yours has ended."""

    class Meta:
        model = Endpoint
        fields = ["id", "url", "active", "created_at", "secret"]
        read_only_fields = fields


@extend_schema_field({"type": "string", "format": "uri", "maxLength": 2000})
class AddressField(serializers.CharField):
    """Which addresses there can be is `webhooks.services`'s to say: names of an own network need no dot."""


class WebhookRequestSerializer(serializers.Serializer):
    """Where to send."""

    url = AddressField(max_length=2000)


class WebhookListSerializer(serializers.Serializer):
    """Your webhooks. `job_secret` is the key that messages to a job's own `webhook_url` are signed with."""

    results = WebhookSerializer(many=True)
    job_secret = serializers.CharField()


def checked(serializer: type[serializers.Serializer], view: ApiView) -> dict:
    """The body as the serializer reads it. Raises 422 for values it refuses and for fields it does not have."""
    body = view.body()
    reader = serializer(data=body)
    unknown = set(body) - set(reader.fields)
    if unknown:
        raise Problem(422, "unknown_option", f"There is no field called {sorted(unknown)[0][:80]!r}.")
    reader.is_valid(raise_exception=True)
    return reader.validated_data


class Tokens(ApiView):
    def _session_only(self) -> None:
        if self.caller.token is not None:
            raise Problem(403, "session_required")

    @extend_schema(operation_id="list_tokens", responses=TokenListSerializer, tags=["account"])
    def get(self, request: Request) -> Response:
        """List your access tokens."""
        return Response({"results": TokenSerializer(list_tokens(self.user), many=True).data})

    @extend_schema(
        operation_id="create_token",
        request=TokenRequestSerializer,
        responses={201: NewTokenSerializer},
        tags=["account"],
    )
    def post(self, request: Request) -> Response:
        """Make an access token. Only from a browser session: a token cannot make tokens."""
        self._session_only()
        token, text = create_token(self.user, **checked(TokenRequestSerializer, self))
        return Response({**TokenSerializer(token).data, "token": text}, status=201)


class TokenDetail(ApiView):
    scopes = {"DELETE": Scope.READ}

    @extend_schema(operation_id="revoke_token", responses={204: OpenApiResponse(description="gone")}, tags=["account"])
    def delete(self, request: Request, id: int) -> Response:
        """Revoke one of your tokens, at once. A token can only revoke itself."""
        own = self.caller.token
        if own is not None and own.pk != id:
            raise Problem(403, "session_required")
        if id > 2**63 - 1 or not revoke_token(self.user, id):
            raise not_found()
        return Response(status=204)


class Webhooks(ApiView):
    scopes = {"GET": Scope.SUBMIT}

    @extend_schema(operation_id="list_webhooks", responses=WebhookListSerializer, tags=["account"])
    def get(self, request: Request) -> Response:
        """List your webhooks, with the keys their messages are signed with."""
        found = WebhookSerializer(list_endpoints(self.user), many=True).data
        return Response({"results": found, "job_secret": job_secret(self.user)})

    @extend_schema(
        operation_id="create_webhook",
        request=WebhookRequestSerializer,
        responses={201: WebhookSerializer},
        tags=["account"],
    )
    def post(self, request: Request) -> Response:
        """Have an address told when jobs end. Messages are signed as Standard Webhooks says, with `secret`."""
        endpoint = add_endpoint(self.user, checked(WebhookRequestSerializer, self)["url"])
        return Response(WebhookSerializer(endpoint).data, status=201)


class WebhookDetail(ApiView):
    @extend_schema(
        operation_id="delete_webhook", responses={204: OpenApiResponse(description="gone")}, tags=["account"]
    )
    def delete(self, request: Request, id: UUID) -> Response:
        """Delete a webhook and what waits to be sent to it."""
        if not remove_endpoint(self.user, id):
            raise not_found()
        return Response(status=204)
