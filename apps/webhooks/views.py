"""`/v1/webhooks`."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.authentication import workspace_of
from apps.core import errors, openapi
from apps.core.api import ApiView
from apps.core.fields import checked
from apps.core.idempotency import takes_key
from apps.core.ids import check_uuid
from apps.core.pagination import CursorQuery
from apps.webhooks import selectors, serializers
from apps.webhooks.services import endpoints, secrets

_TAGS = ["Webhooks"]
_ONE = (errors.InvalidId, errors.NotFound)


@takes_key(atomic=True)
class WebhooksView(ApiView):
    @extend_schema(
        operation_id="list_webhooks",
        summary="List webhooks",
        tags=_TAGS,
        parameters=openapi.PAGING,
        responses={200: serializers.WebhooksSerializer, **openapi.failures(errors.BadRequest)},
    )
    def get(self, request: Request) -> Response:
        page = CursorQuery.from_query(request.query_params)
        return Response(serializers.webhooks_body(selectors.endpoints(workspace_id=workspace_of(request), page=page)))

    @extend_schema(
        operation_id="register_webhook",
        summary="Register a webhook",
        description="Every event from now on is sent to it, signed, until it answers 2xx: up to ten attempts in three"
        f" days. A workspace may have {endpoints.MAX_ENDPOINTS}.",
        tags=_TAGS,
        request=serializers.RegisterWebhookSerializer,
        responses={
            201: serializers.WebhookSerializer,
            **openapi.failures(errors.BadRequest, errors.UrlNotAllowed, errors.Conflict),
        },
    )
    def post(self, request: Request) -> Response:
        values = checked(serializers.RegisterWebhookSerializer, request)
        endpoint = endpoints.register(workspace_id=workspace_of(request), **values)
        return Response(serializers.webhook_body(endpoint), status=201)


class WebhookView(ApiView):
    @extend_schema(
        operation_id="get_webhook",
        summary="Show a webhook",
        tags=_TAGS,
        responses={200: serializers.WebhookSerializer, **openapi.failures(*_ONE)},
    )
    def get(self, request: Request, webhook_id: str) -> Response:
        endpoint_id = check_uuid(webhook_id, "webhook")
        endpoint = selectors.endpoint(workspace_id=workspace_of(request), endpoint_id=endpoint_id)
        return Response(serializers.webhook_body(endpoint))

    @extend_schema(
        operation_id="change_webhook",
        summary="Change, disable or enable a webhook",
        description="Absent fields stay unchanged. A disabled webhook gets no new events; deliveries that were pending"
        " before continue when it is active again.",
        tags=_TAGS,
        request=serializers.ChangeWebhookSerializer,
        responses={
            200: serializers.WebhookSerializer,
            **openapi.failures(errors.BadRequest, errors.UrlNotAllowed, *_ONE),
        },
    )
    def patch(self, request: Request, webhook_id: str) -> Response:
        endpoint_id = check_uuid(webhook_id, "webhook")
        values = checked(serializers.ChangeWebhookSerializer, request)
        endpoint = endpoints.change(workspace_id=workspace_of(request), endpoint_id=endpoint_id, **values)
        return Response(serializers.webhook_body(endpoint))

    @extend_schema(
        operation_id="delete_webhook",
        summary="Delete a webhook",
        description="Its pending deliveries are not sent.",
        tags=_TAGS,
        responses={204: None, **openapi.failures(*_ONE)},
    )
    def delete(self, request: Request, webhook_id: str) -> Response:
        endpoints.delete(workspace_id=workspace_of(request), endpoint_id=check_uuid(webhook_id, "webhook"))
        return Response(status=204)


@takes_key(atomic=True)
class PingView(ApiView):
    @extend_schema(
        operation_id="ping_webhook",
        summary="Send a test event",
        description="Sends `webhook.test` to this webhook alone, regardless of its event types."
        " The result is in its list of deliveries shortly after. `/ping` and `/test` are the same.",
        tags=_TAGS,
        request=None,
        responses={202: serializers.DeliverySerializer, **openapi.failures(*_ONE, errors.Conflict)},
    )
    def post(self, request: Request, webhook_id: str) -> Response:
        endpoint_id = check_uuid(webhook_id, "webhook")
        ping = endpoints.ping(workspace_id=workspace_of(request), endpoint_id=endpoint_id)
        return Response(serializers.delivery_body(ping.delivery, event_type=ping.event.type), status=202)


@extend_schema_view(post=extend_schema(operation_id="test_webhook"))
class PingUnderAnotherNameView(PingView):
    """`/test`, an operation of its own in the OpenAPI document."""


class DeliveriesView(ApiView):
    @extend_schema(
        operation_id="list_webhook_deliveries",
        summary="List delivery attempts",
        description="Every attempt, newest first. A delivery is one event for this webhook; its attempts share its id.",
        tags=_TAGS,
        parameters=openapi.PAGING,
        responses={200: serializers.AttemptsSerializer, **openapi.failures(errors.BadRequest, *_ONE)},
    )
    def get(self, request: Request, webhook_id: str) -> Response:
        page = CursorQuery.from_query(request.query_params)
        endpoint_id = check_uuid(webhook_id, "webhook")
        endpoint = selectors.endpoint(workspace_id=workspace_of(request), endpoint_id=endpoint_id)
        return Response(serializers.attempts_body(selectors.attempts(endpoint_id=endpoint.id, page=page)))


@takes_key(atomic=True)
class RedeliveryView(ApiView):
    @extend_schema(
        operation_id="redeliver_webhook_delivery",
        summary="Send an event again",
        description="Sends the same event with the same id and the same bytes, now, with the whole schedule of"
        " attempts. Events are kept for 30 days unless the operator has chosen otherwise.",
        tags=_TAGS,
        request=None,
        responses={202: serializers.DeliverySerializer, **openapi.failures(*_ONE, errors.Conflict)},
    )
    def post(self, request: Request, webhook_id: str, delivery_id: str) -> Response:
        delivery = endpoints.redeliver(
            workspace_id=workspace_of(request),
            endpoint_id=check_uuid(webhook_id, "webhook"),
            delivery_id=check_uuid(delivery_id, "delivery"),
        )
        return Response(serializers.delivery_body(delivery, event_type=delivery.event.type), status=202)


class SigningSecretView(ApiView):
    @extend_schema(
        operation_id="get_webhook_signing_secret",
        summary="Show the signing secret",
        description="Each workspace has one. It is created when it is first needed.",
        tags=_TAGS,
        responses={200: serializers.SigningSecretSerializer, **openapi.failures()},
    )
    def get(self, request: Request) -> Response:
        return _secret(secrets.current_secret(workspace_id=workspace_of(request)))


class SigningSecretRotationView(ApiView):
    """Takes no Idempotency-Key: the stored response would hold a secret. Rotating twice is harmless, because every
    secret of the last 24 hours still signs.
    """

    @extend_schema(
        operation_id="rotate_webhook_signing_secret",
        summary="Rotate the signing secret",
        description="`X-Agents-Signature` changes to the new secret at once. `webhook-signature` carries a signature by"
        " the old one too for 24 hours. At most four times in 24 hours.",
        tags=_TAGS,
        request=None,
        responses={200: serializers.SigningSecretSerializer, **openapi.failures(errors.Conflict)},
    )
    def post(self, request: Request) -> Response:
        return _secret(secrets.rotate_secret(workspace_id=workspace_of(request)))


def _secret(secret: str) -> Response:
    return Response({"secret": secret}, headers={"Cache-Control": "no-store"})
