"""Request and response bodies of webhooks."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.core.fields import URL_NOT_ALLOWED, StrictCharField, StrictChoiceField
from apps.core.openapi import EVENT_ID_PATTERN, WEB_URL
from apps.core.outgoing import urls
from apps.core.pagination import CursorPage
from apps.core.times import rfc3339, rfc3339_or_none
from apps.webhooks.models import EVENT_TYPES, Attempt, Delivery, Endpoint

STATUSES = ("active", "disabled")
_URL_HELP = "An http or https URL without user name or password, at a public address."
_SIGNATURE_HELP = (
    "The form of `X-Agents-Signature`: `body`, the default, is hex HMAC-SHA256 of the body; `timestamped` is"
    " `t=<unix>, v1=<hex>` over `<unix>.` and the body."
)
_EVENTS_HELP = "The event types to send. Empty or absent: every type."


@extend_schema_field(WEB_URL)
class ReceiverUrlField(StrictCharField):
    """A URL to which a request may be sent."""

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        try:
            urls.check(text, settings.ALLOW_ADDRESSES)
        except urls.BadUrl as error:
            raise serializers.ValidationError(str(error), code=URL_NOT_ALLOWED) from error
        return text


class EventTypesField(serializers.ListField):
    child = StrictChoiceField(choices=EVENT_TYPES)

    def to_internal_value(self, data: Any) -> list[str]:
        if not isinstance(data, list):
            raise serializers.ValidationError("must be a list of event types")
        types: list[str] = super().to_internal_value(data)
        return types


class RegisterWebhookSerializer(serializers.Serializer[Any]):
    url = ReceiverUrlField(trim_whitespace=False, help_text=_URL_HELP)
    events = EventTypesField(required=False, help_text=_EVENTS_HELP)
    description = StrictCharField(required=False, allow_blank=True, max_length=500, help_text="For your own use.")
    signature = StrictChoiceField(choices=Endpoint.Signature.choices, required=False, help_text=_SIGNATURE_HELP)


class ChangeWebhookSerializer(serializers.Serializer[Any]):
    url = ReceiverUrlField(required=False, trim_whitespace=False, help_text=_URL_HELP)
    events = EventTypesField(required=False, help_text=_EVENTS_HELP)
    description = StrictCharField(required=False, allow_blank=True, max_length=500)
    signature = StrictChoiceField(choices=Endpoint.Signature.choices, required=False, help_text=_SIGNATURE_HELP)
    status = StrictChoiceField(
        choices=STATUSES, required=False, help_text="`active` enables it again and resets its failures."
    )


class WebhookSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    url = serializers.CharField()
    events = serializers.ListField(child=serializers.ChoiceField(choices=EVENT_TYPES), help_text=_EVENTS_HELP)
    description = serializers.CharField()
    status = serializers.ChoiceField(choices=STATUSES)
    disabled_reason = serializers.ChoiceField(
        choices=Endpoint.Reason.choices,
        allow_null=True,
        help_text="`owner`: by a PATCH; `gone`: the receiver answered 410; `failing`: no success in five days.",
    )
    disabled_at = serializers.DateTimeField(allow_null=True)
    signature = serializers.ChoiceField(choices=Endpoint.Signature.choices)
    last_sent_at = serializers.DateTimeField(allow_null=True, help_text="When the newest attempt ended.")
    last_error = serializers.CharField(allow_null=True, help_text="Of the newest attempt; null: it was accepted.")
    created_at = serializers.DateTimeField()


class WebhooksSerializer(serializers.Serializer[Any]):
    webhooks = WebhookSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class AttemptSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(help_text="The id of the delivery: all its attempts have the same id.")
    event_id = serializers.RegexField(EVENT_ID_PATTERN)
    event_type = serializers.ChoiceField(choices=EVENT_TYPES)
    attempt = serializers.IntegerField(help_text="From 1.")
    status_code = serializers.IntegerField(allow_null=True, help_text="null: there was no response.")
    error = serializers.CharField(allow_null=True, help_text="null: it was accepted.")
    duration_ms = serializers.IntegerField()
    delivered_at = serializers.DateTimeField(help_text="When this attempt ended, with or without success.")
    status = serializers.ChoiceField(choices=Delivery.Status.choices, help_text="The current status of the delivery.")
    next_attempt_at = serializers.DateTimeField(
        allow_null=True, help_text="The next attempt of the delivery, if one is planned."
    )


class AttemptsSerializer(serializers.Serializer[Any]):
    deliveries = AttemptSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class DeliverySerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    event_id = serializers.RegexField(EVENT_ID_PATTERN)
    event_type = serializers.ChoiceField(choices=EVENT_TYPES)
    status = serializers.ChoiceField(choices=Delivery.Status.choices)
    attempts = serializers.IntegerField(help_text="Made so far.")
    next_attempt_at = serializers.DateTimeField(allow_null=True)


class SigningSecretSerializer(serializers.Serializer[Any]):
    secret = serializers.CharField(help_text="`whsec_` and base64 of 32 bytes.")


def webhook_body(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "id": str(endpoint.id),
        "url": endpoint.url,
        "events": endpoint.events,
        "description": endpoint.description,
        "status": endpoint.status,
        "disabled_reason": endpoint.disabled_reason or None,
        "disabled_at": rfc3339_or_none(endpoint.disabled_at),
        "signature": endpoint.signature,
        "last_sent_at": rfc3339_or_none(getattr(endpoint, "last_sent_at", None)),
        "last_error": getattr(endpoint, "last_error", None) or None,
        "created_at": rfc3339(endpoint.created_at),
    }


def webhooks_body(page: CursorPage[Endpoint]) -> dict[str, Any]:
    return {"webhooks": [webhook_body(endpoint) for endpoint in page.rows], "next_cursor": page.next_cursor}


def attempt_body(attempt: Attempt) -> dict[str, Any]:
    delivery = attempt.delivery
    return {
        "id": str(delivery.id),
        "event_id": delivery.event_id,
        "event_type": delivery.event.type,
        "attempt": attempt.number,
        "status_code": attempt.status_code,
        "error": attempt.error or None,
        "duration_ms": attempt.duration_ms,
        "delivered_at": rfc3339(attempt.ended_at),
        "status": delivery.status,
        "next_attempt_at": _next_attempt_at(delivery),
    }


def attempts_body(page: CursorPage[Attempt]) -> dict[str, Any]:
    return {"deliveries": [attempt_body(attempt) for attempt in page.rows], "next_cursor": page.next_cursor}


def delivery_body(delivery: Delivery, *, event_type: str) -> dict[str, Any]:
    return {
        "id": str(delivery.id),
        "event_id": delivery.event_id,
        "event_type": event_type,
        "status": delivery.status,
        "attempts": delivery.attempts,
        "next_attempt_at": _next_attempt_at(delivery),
    }


def _next_attempt_at(delivery: Delivery) -> str | None:
    """None while it is being sent: `due_at` is then the end of a claim."""
    return None if delivery.claim is not None else rfc3339_or_none(delivery.due_at)
