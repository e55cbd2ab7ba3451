"""Reads Stripe's JSON about payments into values. Pure; checks the type of every field it uses."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# https://docs.stripe.com/checkout/fulfillment: a delayed payment completes unpaid, and succeeds or fails later.
_OF_SESSIONS = frozenset(
    {
        "checkout.session.completed",
        "checkout.session.async_payment_succeeded",
        "checkout.session.async_payment_failed",
        "checkout.session.expired",
    }
)
_FAILED = "checkout.session.async_payment_failed"
_REFUNDED = "charge.refunded"


@dataclass(frozen=True, slots=True)
class SessionFact:
    """The state of a Checkout Session. `checkout_id`: the checkout that the session names."""

    session_id: str
    checkout_id: uuid.UUID | None
    status: str
    payment_status: str
    amount: int | None
    currency: str
    payment_intent: str = ""
    url: str = ""
    payment_failed: bool = False

    @property
    def paid(self) -> bool:
        return self.payment_status == "paid"

    @property
    def expired(self) -> bool:
        return self.status == "expired"


@dataclass(frozen=True, slots=True)
class RefundFact:
    """The state of a refunded charge. `refunded` is the total so far, so facts can come in any order."""

    checkout_id: uuid.UUID | None
    payment_intent: str
    amount: int
    refunded: int
    currency: str


Fact = SessionFact | RefundFact


def fact_of_event(raw: bytes) -> Fact | None:
    """The fact in an event; None for an event type that is not used. Raises ValueError when `raw` is not an event."""
    event = json.loads(raw)
    kind, about = _get(event, "type", str), _get(_get(event, "data", dict), "object", dict)
    if kind in _OF_SESSIONS:
        return session_fact(about, payment_failed=kind == _FAILED)
    if kind != _REFUNDED:
        return None
    return RefundFact(
        checkout_id=_checkout_id(about),
        payment_intent=_id(about.get("payment_intent")),
        amount=_get(about, "amount", int),
        refunded=_get(about, "amount_refunded", int),
        currency=_get(about, "currency", str),
    )


def session_fact(session: Mapping[str, Any], *, payment_failed: bool = False) -> SessionFact:
    """Raises ValueError."""
    amount = session.get("amount_total")
    return SessionFact(
        session_id=_get(session, "id", str),
        checkout_id=_uuid(session.get("client_reference_id")) or _checkout_id(session),
        status=_text(session.get("status")),
        payment_status=_text(session.get("payment_status")),
        amount=amount if isinstance(amount, int) else None,
        currency=_text(session.get("currency")),
        payment_intent=_id(session.get("payment_intent")),
        url=_text(session.get("url")),
        payment_failed=payment_failed,
    )


def _checkout_id(about: Mapping[str, Any]) -> uuid.UUID | None:
    metadata = about.get("metadata")
    return _uuid(metadata.get("checkout_id")) if isinstance(metadata, dict) else None


def _get(about: object, name: str, kind: type[Any]) -> Any:
    value = about.get(name) if isinstance(about, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{name} is missing or is not of type {kind.__name__}")
    return value


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _id(value: object) -> str:
    """The id in a field that holds an id or, when Stripe expanded it, the object."""
    return _text(value.get("id") if isinstance(value, dict) else value)


def _uuid(value: object) -> uuid.UUID | None:
    try:
        return uuid.UUID(_text(value))
    except ValueError:
        return None
