"""Starts a purchase of credits: write the checkout, open a Stripe session, store the session's URL."""

from __future__ import annotations

import logging
import uuid

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.billing.models import Checkout
from apps.billing.offers import Offer
from apps.billing.stripe_api import Order, Rejected, StripeApi
from apps.billing.stripe_facts import SessionFact
from apps.core import idempotency
from apps.core.errors import ApiError, UpstreamUnavailable, ValidationFailed

log = logging.getLogger(__name__)

Status = Checkout.Status

# Stripe's error codes for an amount that it does not accept.
_AMOUNTS = frozenset({"amount_too_small", "amount_too_large"})


def begin(*, workspace_id: uuid.UUID, offer: Offer, success_url: str, cancel_url: str, stripe: StripeApi) -> Checkout:
    """Returns a checkout that waits for its payment. Raises UpstreamUnavailable, or ValidationFailed for an amount that
    Stripe does not accept. After an error nothing is charged, and the row's `problem` says why.
    """
    checkout = _record(workspace_id, offer, success_url, cancel_url)
    try:
        return open_session(checkout, stripe=stripe)
    except ApiError as error:
        # The caller has no URL to pay at, so the checkout can't be paid.
        move(checkout, to=Status.FAILED, problem=error.message)
        raise


@transaction.atomic
def _record(workspace_id: uuid.UUID, offer: Offer, success_url: str, cancel_url: str) -> Checkout:
    checkout = Checkout.objects.create(
        workspace_id=workspace_id,
        credits=offer.credits,
        amount=offer.amount,
        currency=settings.CREDIT_CURRENCY,
        success_url=success_url,
        cancel_url=cancel_url,
        created_at=timezone.now(),
    )
    idempotency.bind("checkout", str(checkout.id))
    return checkout


def open_session(checkout: Checkout, *, stripe: StripeApi) -> Checkout:
    """Opens the session at Stripe. The row's idempotency key makes a repeat return the same session.

    Raises UpstreamUnavailable, ValidationFailed.
    """
    order = Order(
        checkout_id=checkout.id,
        workspace_id=checkout.workspace_id,
        idempotency_key=str(checkout.idempotency_key),
        credits=checkout.credits,
        amount=checkout.amount,
        currency=checkout.currency,
        success_url=checkout.success_url,
        cancel_url=checkout.cancel_url,
    )
    try:
        session = stripe.create_session(order)
    except Rejected as rejected:
        if rejected.code in _AMOUNTS:
            raise ValidationFailed({"credits": [str(rejected)]}) from rejected
        log.error("Stripe refuses checkouts", extra={"code": rejected.code, "said": str(rejected)[:300]})
        raise UpstreamUnavailable("Stripe refused to open a checkout. Nothing was charged.") from rejected
    _store_session(checkout, session)
    return checkout


def _store_session(checkout: Checkout, session: SessionFact) -> None:
    opened = {"session_id": session.session_id, "url": session.url}
    if move(checkout, to=Status.PENDING, **opened):
        return
    # An event about the session came before the response that created it.
    Checkout.objects.filter(id=checkout.id).update(**opened)
    checkout.refresh_from_db()


def move(checkout: Checkout, *, to: Checkout.Status, **changes: object) -> bool:
    """Compare-and-set: the only function that changes a checkout's status. On success `checkout` has the new values."""
    if Checkout.objects.filter(id=checkout.id, status=checkout.status).update(status=to, **changes) != 1:
        return False
    for name, value in {"status": to, **changes}.items():
        setattr(checkout, name, value)
    return True
