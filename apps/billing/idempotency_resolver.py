"""Builds the response to a repeated checkout request from the checkout that the first request created."""

from __future__ import annotations

from http import HTTPStatus

from rest_framework.renderers import JSONRenderer

from apps.billing import serializers
from apps.billing.models import Checkout
from apps.core import errors, tracing
from apps.core.idempotency import StoredResponse, Unresolved


def outcome(checkout_id: str) -> StoredResponse | Unresolved:
    """A resolver for `apps.core.idempotency`. `reconciliation` settles a checkout whose process died."""
    checkout = Checkout.objects.filter(id=checkout_id).first()
    if checkout is None:
        return Unresolved.NOT_STARTED
    if checkout.status == Checkout.Status.STARTING:
        return Unresolved.RUNNING
    if not checkout.session_id:
        error = errors.UpstreamUnavailable(checkout.problem)
        return _answer(error.status, errors.envelope(error, request_id=tracing.request_id()))
    return _answer(HTTPStatus.CREATED, serializers.checkout_body(checkout))


def _answer(status: int, body: object) -> StoredResponse:
    return StoredResponse(int(status), {"Content-Type": "application/json"}, JSONRenderer().render(body))
