"""The only module that calls Stripe, through Stripe's own library.

The library is imported where it is used: importing it takes most of a second.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from apps.billing.stripe_facts import SessionFact, session_fact
from apps.core.errors import BadRequest, NotConfigured, UpstreamUnavailable

log = logging.getLogger(__name__)

_CONNECT_SECONDS, _READ_SECONDS = 3.0, 10.0
_RETRIES = 1  # by the library, after half a second, with the same idempotency key
_SIGNATURE_SECONDS = 300


class Rejected(Exception):
    """Stripe refused the request and created nothing. `code` is Stripe's error code."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Order:
    """The parameters of a session: equal in every attempt, as its idempotency key requires."""

    checkout_id: uuid.UUID
    workspace_id: uuid.UUID
    idempotency_key: str
    credits: int
    amount: int
    currency: str
    success_url: str
    cancel_url: str


@dataclass(frozen=True, slots=True)
class StripeApi:
    """Its methods raise Rejected, and UpstreamUnavailable when the result of the call is unknown."""

    secret_key: str
    base: str

    def create_session(self, order: Order) -> SessionFact:
        metadata = {"checkout_id": str(order.checkout_id), "workspace_id": str(order.workspace_id)}
        product = {"name": f"{order.credits} credits"}
        price = {"currency": order.currency, "unit_amount": order.amount, "product_data": product}
        params = {
            "mode": "payment",
            "line_items": [{"quantity": 1, "price_data": price}],
            "client_reference_id": str(order.checkout_id),
            "metadata": metadata,
            # Stripe copies it to the charge, so that a refund names its checkout.
            "payment_intent_data": {"metadata": metadata},
            "adaptive_pricing": {"enabled": False},  # the payment must have exactly this currency and amount
            "success_url": order.success_url,
            "cancel_url": order.cancel_url,
        }
        return self._ask(lambda sessions: sessions.create(params, {"idempotency_key": order.idempotency_key}))

    def session(self, session_id: str) -> SessionFact:
        return self._ask(lambda sessions: sessions.retrieve(session_id))

    def _ask(self, call: Callable[[Any], Any]) -> SessionFact:
        import stripe

        stripe.enable_telemetry = False
        with closing(stripe.RequestsClient(timeout=(_CONNECT_SECONDS, _READ_SECONDS))) as http:
            client = stripe.StripeClient(
                self.secret_key,
                base_addresses={"api": self.base},
                max_network_retries=_RETRIES,
                http_client=http,
            )
            try:
                return session_fact(call(client.v1.checkout.sessions).to_dict())
            except (stripe.InvalidRequestError, stripe.CardError, stripe.IdempotencyError) as error:
                raise Rejected(error.code or type(error).__name__, str(error)) from error
            except (stripe.StripeError, ValueError) as error:
                # The operator must see that a key is wrong; Stripe's text shows only a part of the key.
                log.error("a call to Stripe failed", extra={"cause": type(error).__name__, "said": str(error)[:300]})
                raise UpstreamUnavailable("Stripe can't be reached. Nothing was charged; try again.") from error


def configured() -> StripeApi:
    """Raises NotConfigured."""
    if not settings.STRIPE_SECRET_KEY:
        raise NotConfigured("Credits can't be bought here: the operator has not set STRIPE_SECRET_KEY.")
    return StripeApi(settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE)


def check_signature(raw: bytes, header: str) -> None:
    """Raises BadRequest unless Stripe signed this body within the last five minutes, and NotConfigured."""
    if not settings.STRIPE_WEBHOOK_SECRET:
        raise NotConfigured("The operator has not set STRIPE_WEBHOOK_SECRET.")
    import stripe

    try:
        if not header.isascii():
            raise ValueError("a signature is ASCII")
        stripe.WebhookSignature.verify_header(raw, header, settings.STRIPE_WEBHOOK_SECRET, _SIGNATURE_SECONDS)
    except (stripe.SignatureVerificationError, ValueError) as error:
        raise BadRequest("The Stripe-Signature header doesn't fit the body, or is too old.") from error
