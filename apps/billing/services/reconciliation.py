"""Beat's ticks over checkouts: ask Stripe about undecided ones, delete old unpaid ones."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from django.utils import timezone

from apps.billing import selectors
from apps.billing.models import Checkout
from apps.billing.services import checkouts, payments
from apps.billing.stripe_api import Rejected, StripeApi
from apps.core.errors import ValidationFailed

log = logging.getLogger(__name__)

Status = Checkout.Status

# A call to Stripe takes half a minute at most: the process that started an older checkout has died.
START_TIMEOUT = timedelta(minutes=1)
# Most webhooks arrive within seconds.
ASK_AFTER = timedelta(minutes=5)
ASK_EVERY = timedelta(minutes=10)
# Stripe deletes idempotency keys after 24 hours: later the same call would create another session.
KEY_LIFE = timedelta(hours=23)
UNPAID_RETENTION = timedelta(days=90)
_BATCH = 50


def reconcile(*, find_stripe: Callable[[], StripeApi], now: datetime | None = None) -> int:
    """Asks Stripe about checkouts that have been undecided for minutes. Returns how many.

    Raises UpstreamUnavailable; the next tick asks about the others.
    """
    now = now or timezone.now()
    due = selectors.undecided_checkouts(
        starting_before=now - START_TIMEOUT,
        pending_before=now - ASK_AFTER,
        checked_before=now - ASK_EVERY,
        limit=_BATCH,
    )
    stripe = find_stripe() if due else None
    for checkout in due:
        assert stripe is not None
        # Before the call, so that a checkout that always fails does not block the others.
        Checkout.objects.filter(id=checkout.id).update(checked_at=now)
        if checkout.status == Status.STARTING:
            _resume_start(checkout, stripe, now)
        else:
            _ask_stripe(checkout, stripe)
    return len(due)


def _resume_start(checkout: Checkout, stripe: StripeApi, now: datetime) -> None:
    """Its process died before Stripe's response. A request with its Idempotency-Key may still ask for the result."""
    if checkout.created_at < now - KEY_LIFE:
        checkouts.move(checkout, to=Status.FAILED, problem="It was abandoned before Stripe answered.")
        return
    try:
        checkouts.open_session(checkout, stripe=stripe)
    except ValidationFailed as error:
        checkouts.move(checkout, to=Status.FAILED, problem=error.message)


def _ask_stripe(checkout: Checkout, stripe: StripeApi) -> None:
    try:
        fact = stripe.session(checkout.session_id)
    except Rejected as rejected:
        log.error(
            "Stripe does not know the session of a checkout",
            extra={"checkout": str(checkout.id), "said": str(rejected)[:300]},
        )
        checkouts.move(checkout, to=Status.FAILED, problem=f"Stripe does not know its session: {rejected.code}")
        return
    payments.apply_fact(fact)


def purge_unpaid(*, now: datetime | None = None) -> int:
    """Deletes old checkouts that expired or failed. Returns how many. Paid checkouts are never deleted."""
    old = (now or timezone.now()) - UNPAID_RETENTION
    removed, _ = Checkout.objects.filter(status__in=[Status.EXPIRED, Status.FAILED], created_at__lt=old).delete()
    return removed
