"""How a purchase of credits begins: recorded, then told to Stripe, then where to pay is recorded."""

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

# What Stripe calls amounts that it doesn't take.
_AMOUNTS = frozenset({"amount_too_small", "amount_too_large"})


def begin(*, workspace_id: uuid.UUID, offer: Offer, success_url: str, cancel_url: str, stripe: StripeApi) -> Checkout:
    """A checkout that waits for its payment. Raises UpstreamUnavailable, or ValidationFailed for an amount that Stripe
    doesn't take. Either way nothing is charged, and the row says what happened.
    """
    checkout = _record(workspace_id, offer, success_url, cancel_url)
    try:
        return open_session(checkout, stripe=stripe)
    except ApiError as error:
        # Nobody was told where to pay, so nobody can.
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
    """Asks Stripe for the session, with the key minted with the row: asked again, Stripe answers the same.

    Raises UpstreamUnavailable, ValidationFailed.
    """
    try:
        session = stripe.create_session(_order(checkout))
    except Rejected as rejected:
        raise _to_api_error(rejected) from rejected
    _store_session(checkout, session)
    return checkout


def _order(checkout: Checkout) -> Order:
    return Order(
        checkout_id=checkout.id,
        workspace_id=checkout.workspace_id,
        idempotency_key=str(checkout.idempotency_key),
        credits=checkout.credits,
        amount=checkout.amount,
        currency=checkout.currency,
        success_url=checkout.success_url,
        cancel_url=checkout.cancel_url,
    )


def _to_api_error(rejected: Rejected) -> ApiError:
    if rejected.code in _AMOUNTS:
        return ValidationFailed({"credits": [str(rejected)]})
    log.error("Stripe refuses checkouts", extra={"code": rejected.code, "said": str(rejected)[:300]})
    return UpstreamUnavailable("Stripe refused to open a checkout. Nothing was charged.")


def _store_session(checkout: Checkout, session: SessionFact) -> None:
    opened = {"session_id": session.session_id, "url": session.url}
    if move(checkout, to=Status.PENDING, **opened):
        return
    # An event about the session was faster than the answer that it exists.
    Checkout.objects.filter(id=checkout.id).update(**opened)
    checkout.refresh_from_db()


def move(checkout: Checkout, *, to: Checkout.Status, **changes: object) -> bool:
    """Compare-and-set, the only place that changes a checkout's status. On success `checkout` shows the new row."""
    if Checkout.objects.filter(id=checkout.id, status=checkout.status).update(status=to, **changes) != 1:
        return False
    for name, value in {"status": to, **changes}.items():
        setattr(checkout, name, value)
    return True
