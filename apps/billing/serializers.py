"""Credits on the wire."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.billing.models import CreditAccount, LedgerEntry
from apps.core.pagination import Page
from apps.core.times import rfc3339


class CreditsSerializer(serializers.Serializer[Any]):
    balance = serializers.IntegerField()
    held = serializers.IntegerField(help_text="Set aside for what runs now.")
    available = serializers.IntegerField(help_text="`balance - held`.")
    prices = serializers.DictField(child=serializers.IntegerField(), help_text="Price of each thing, in credits.")


class LedgerEntrySerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    seq = serializers.IntegerField(help_text="Counts up by one within the workspace.")
    kind = serializers.ChoiceField(choices=LedgerEntry.Kind.choices)
    amount = serializers.IntegerField(help_text="Change of the balance: 0 for a hold and its release.")
    held_change = serializers.IntegerField(help_text="Change of what is held.")
    balance_after = serializers.IntegerField()
    held_after = serializers.IntegerField()
    reference = serializers.CharField()
    description = serializers.CharField()
    agent_id = serializers.CharField(allow_null=True)
    job_id = serializers.UUIDField(allow_null=True)
    created_at = serializers.DateTimeField()


class LedgerSerializer(serializers.Serializer[Any]):
    entries = LedgerEntrySerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


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
        "held_change": entry.held_change,
        "balance_after": entry.balance_after,
        "held_after": entry.held_after,
        "reference": entry.reference,
        "description": entry.description,
        "agent_id": entry.agent_id or None,
        "job_id": str(entry.job_id) if entry.job_id else None,
        "created_at": rfc3339(entry.created_at),
    }


def ledger_body(page: Page[LedgerEntry]) -> dict[str, Any]:
    return {"entries": [entry_body(entry) for entry in page.rows], "next_cursor": page.next_cursor}
