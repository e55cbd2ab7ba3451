"""Request and response bodies of credits."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from rest_framework import serializers

from apps.billing.models import Checkout, CreditAccount, LedgerEntry
from apps.billing.offers import MAX_CREDITS, Offer
from apps.core.fields import StrictCharField, StrictIntegerField
from apps.core.openapi import AGENT_ID_PATTERN
from apps.core.pagination import CursorPage
from apps.core.times import rfc3339, rfc3339_or_none


class CreditsSerializer(serializers.Serializer[Any]):
    balance = serializers.IntegerField()
    held = serializers.IntegerField(help_text="Reserved for running work.")
    available = serializers.IntegerField(help_text="`balance - held`.")
    prices = serializers.DictField(child=serializers.IntegerField(), help_text="Prices by key, in credits.")


class LedgerEntrySerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    seq = serializers.IntegerField(help_text="Counts up by one within the workspace.")
    kind = serializers.ChoiceField(choices=LedgerEntry.Kind.choices)
    amount = serializers.IntegerField(help_text="Change of the balance: 0 for a hold and its release.")
    delta = serializers.IntegerField(help_text="The same as `amount`.")
    held_change = serializers.IntegerField(help_text="Change of the held credits.")
    balance_after = serializers.IntegerField()
    balance = serializers.IntegerField(help_text="The same as `balance_after`.")
    held_after = serializers.IntegerField()
    reference = serializers.CharField()
    description = serializers.CharField()
    reason = serializers.CharField(help_text="The same as `description`.")
    agent_id = serializers.RegexField(AGENT_ID_PATTERN, allow_null=True)
    job_id = serializers.UUIDField(allow_null=True)
    created_at = serializers.DateTimeField()


class LedgerSerializer(serializers.Serializer[Any]):
    entries = LedgerEntrySerializer(many=True)
    balance = serializers.IntegerField(help_text="Now.")
    count = serializers.IntegerField(help_text="Of the entries in this answer.")
    next_cursor = serializers.CharField(allow_null=True)


class StartCheckoutSerializer(serializers.Serializer[Any]):
    credits = StrictIntegerField(min_value=1, max_value=MAX_CREDITS, required=False, help_text="How many to buy.")
    pack = StrictCharField(required=False, max_length=40, help_text="Or the name of one of the operator's packs.")
    success_url = StrictCharField(
        required=False,
        max_length=2048,
        help_text="Where Stripe sends the payer after the payment. Stripe replaces `{CHECKOUT_SESSION_ID}`.",
    )
    cancel_url = StrictCharField(required=False, max_length=2048, help_text="Where Stripe sends a payer who cancels.")

    def validate_success_url(self, value: str) -> str:
        return _web_address(value)

    def validate_cancel_url(self, value: str) -> str:
        return _web_address(value)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("credits" in attrs) == ("pack" in attrs):
            raise serializers.ValidationError({"credits": ["send exactly one of credits and pack"]})
        return attrs


def _web_address(value: str) -> str:
    try:
        parts = urlsplit(value)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        sound = False
    if not sound or not value.isascii() or not value.isprintable() or " " in value:
        raise serializers.ValidationError("must be an http or https URL")
    return value


class CheckoutSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=Checkout.Status.choices)
    checkout_url = serializers.CharField(help_text="Where to pay. Empty unless `status` is `pending`.")
    session_id = serializers.CharField(help_text="Stripe's id of the session.")
    credits = serializers.IntegerField()
    amount = serializers.IntegerField(help_text="In the currency's smallest unit.")
    currency = serializers.CharField()
    created_at = serializers.DateTimeField()
    paid_at = serializers.DateTimeField(allow_null=True)


class PackSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    credits = serializers.IntegerField()
    amount = serializers.IntegerField(help_text="In the currency's smallest unit.")


class OffersSerializer(serializers.Serializer[Any]):
    currency = serializers.CharField()
    price = serializers.CharField(help_text="Of one credit, in the currency's smallest unit; a decimal number.")
    packs = PackSerializer(many=True)


def credits_body(account: CreditAccount, prices: dict[str, int]) -> dict[str, Any]:
    return {
        "balance": account.balance,
        "held": account.held,
        "available": account.head().available,
        "prices": prices,
    }


def entry_body(entry: LedgerEntry) -> dict[str, Any]:
    return {
        "id": str(entry.id),
        "seq": entry.seq,
        "kind": entry.kind,
        "amount": entry.amount,
        "delta": entry.amount,
        "held_change": entry.held_change,
        "balance_after": entry.balance_after,
        "balance": entry.balance_after,
        "held_after": entry.held_after,
        "reference": entry.reference,
        "description": entry.description,
        "reason": entry.description,
        "agent_id": entry.agent_id or None,
        "job_id": str(entry.job_id) if entry.job_id else None,
        "created_at": rfc3339(entry.created_at),
    }


def ledger_body(page: CursorPage[LedgerEntry], *, balance: int) -> dict[str, Any]:
    entries = [entry_body(entry) for entry in page.rows]
    return {"entries": entries, "balance": balance, "count": len(entries), "next_cursor": page.next_cursor}


def checkout_body(checkout: Checkout) -> dict[str, Any]:
    payable = checkout.status == Checkout.Status.PENDING
    return {
        "id": str(checkout.id),
        "status": checkout.status,
        "checkout_url": checkout.url if payable else "",
        "session_id": checkout.session_id,
        "credits": checkout.credits,
        "amount": checkout.amount,
        "currency": checkout.currency,
        "created_at": rfc3339(checkout.created_at),
        "paid_at": rfc3339_or_none(checkout.paid_at),
    }


def offers_body(*, currency: str, price: Decimal, packs: Mapping[str, Offer]) -> dict[str, Any]:
    return {
        "currency": currency,
        "price": str(price),
        "packs": [{"name": name, "credits": pack.credits, "amount": pack.amount} for name, pack in packs.items()],
    }
