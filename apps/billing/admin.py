"""Operators' pages for money. Nothing here can change history."""

from __future__ import annotations

from django.contrib import admin

from apps.billing.models import CreditAccount, Hold, LedgerEntry, Price
from apps.core.admin import ReadOnlyAdmin


@admin.register(CreditAccount)
class CreditAccountAdmin(ReadOnlyAdmin[CreditAccount]):
    list_display = ["workspace", "balance", "held", "seq"]
    list_select_related = ["workspace"]
    search_fields = ["workspace__name", "workspace__slug", "workspace__id"]


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin[LedgerEntry]):
    list_display = [
        "workspace",
        "seq",
        "kind",
        "amount",
        "held_change",
        "balance_after",
        "held_after",
        "agent_id",
        "created_at",
    ]
    list_filter = ["kind"]
    list_select_related = ["workspace"]
    ordering = ["-created_at", "-seq"]
    search_fields = ["workspace__name", "workspace__slug", "reference", "agent_id"]


@admin.register(Hold)
class HoldAdmin(ReadOnlyAdmin[Hold]):
    list_display = ["workspace", "reference", "amount", "captured", "status", "created_at", "settled_at"]
    list_filter = ["status"]
    list_select_related = ["workspace"]
    ordering = ["-created_at"]
    search_fields = ["workspace__name", "workspace__slug", "reference"]


@admin.register(Price)
class PriceAdmin(admin.ModelAdmin[Price]):
    list_display = ["key", "credits"]
