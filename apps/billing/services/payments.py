"""Applies facts from Stripe to checkouts: from events, in any order and any number of times, and from responses.

A fact is a state, not a change, so applying it twice changes nothing. The checkout's row is locked first, then the
account. The ledger's unique references also ensure that a payment is granted once.
"""

from __future__ import annotations

import logging

from django.db import transaction
from django.utils import timezone

from apps.billing.models import Checkout
from apps.billing.offers import credits_for_part, format_amount
from apps.billing.services import credits
from apps.billing.services.checkouts import move
from apps.billing.services.ledger import lock_account
from apps.billing.stripe_facts import Fact, RefundFact, SessionFact

log = logging.getLogger(__name__)

Status = Checkout.Status
_UNDECIDED = (Status.STARTING, Status.PENDING)
_GRANTED = (Status.PAID, Status.REFUNDED)


@transaction.atomic
def apply_fact(fact: Fact) -> Checkout | None:
    """Returns the fact's checkout; None when this installation has no such checkout."""
    rows = Checkout.objects.select_for_update()
    if fact.checkout_id is not None:
        checkout = rows.filter(id=fact.checkout_id).first()
    elif isinstance(fact, SessionFact):
        checkout = rows.filter(session_id=fact.session_id).first()
    else:
        checkout = rows.filter(payment_intent=fact.payment_intent).first() if fact.payment_intent else None
    if checkout is None:
        log.info("Stripe reported a payment of an unknown checkout")
    elif isinstance(fact, RefundFact):
        _apply_refund(checkout, fact)
    else:
        _apply_session(checkout, fact)
    return checkout


def _apply_session(checkout: Checkout, fact: SessionFact) -> None:
    if checkout.status in _GRANTED:
        return
    if fact.paid:
        problem = _mismatch(checkout, fact)
        if problem:
            log.error("a payment does not match its checkout", extra={"checkout": str(checkout.id), "problem": problem})
            move(checkout, to=Status.REVIEW, problem=problem[:500])
        else:
            _grant(checkout, fact)
    elif checkout.status in _UNDECIDED and fact.payment_failed:
        move(checkout, to=Status.FAILED, problem="The payment failed.")
    elif checkout.status in _UNDECIDED and fact.expired:
        move(checkout, to=Status.EXPIRED)


def _mismatch(checkout: Checkout, fact: SessionFact) -> str:
    """How the payment differs from the checkout; empty when it matches."""
    if checkout.session_id and fact.session_id != checkout.session_id:
        return f"another session was paid: {fact.session_id}"
    if (fact.amount, fact.currency) != (checkout.amount, checkout.currency):
        return f"{fact.amount} {fact.currency} were paid instead of {checkout.amount} {checkout.currency}"
    return ""


def _grant(checkout: Checkout, fact: SessionFact) -> None:
    move(
        checkout,
        to=Status.PAID,
        paid_at=timezone.now(),
        session_id=fact.session_id,
        payment_intent=fact.payment_intent,
        problem="",
    )
    credits.top_up(
        workspace_id=checkout.workspace_id,
        amount=checkout.credits,
        reference=f"checkout:{checkout.id}",
        description=f"Bought for {format_amount(checkout.amount, checkout.currency)}",
    )
    _take_back_credits(checkout)  # the refund's event may have come first


def _apply_refund(checkout: Checkout, fact: RefundFact) -> None:
    if (fact.amount, fact.currency) != (checkout.amount, checkout.currency):
        problem = f"a charge of {fact.amount} {fact.currency} was refunded"
        log.error("a refund does not match its checkout", extra={"checkout": str(checkout.id), "problem": problem})
        Checkout.objects.filter(id=checkout.id).update(problem=problem)
        return
    if fact.refunded <= checkout.refunded_amount:
        return
    checkout.refunded_amount = min(fact.refunded, checkout.amount)
    checkout.save(update_fields=["refunded_amount"])
    if checkout.status in _GRANTED:
        _take_back_credits(checkout)


def _take_back_credits(checkout: Checkout) -> None:
    """Takes back the refunded credits that are available; the others are recorded as owed."""
    due = credits_for_part(checkout.refunded_amount, of=checkout.amount, credits=checkout.credits)
    due -= checkout.refunded_credits + checkout.owed_credits
    if due <= 0:
        return
    available = lock_account(workspace_id=checkout.workspace_id).head().available
    taken = min(due, available)
    if taken:
        back, paid = (
            format_amount(amount, checkout.currency) for amount in (checkout.refunded_amount, checkout.amount)
        )
        credits.refund(
            workspace_id=checkout.workspace_id,
            amount=taken,
            reference=f"checkout:{checkout.id}:refund:{checkout.refunded_amount}",
            description=f"{back} of {paid} paid back",
        )
    if taken < due:
        log.error(
            "refunded credits are already spent",
            extra={"checkout": str(checkout.id), "owed_credits": due - taken},
        )
    whole = checkout.refunded_amount >= checkout.amount
    move(
        checkout,
        to=Status.REFUNDED if whole else Status.PAID,
        refunded_credits=checkout.refunded_credits + taken,
        owed_credits=checkout.owed_credits + due - taken,
    )
