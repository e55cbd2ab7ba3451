"""Reads of money."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import connection
from django.db.models import Count, Q, Sum

from apps.billing.models import CreditAccount, Hold, LedgerEntry, Price
from apps.billing.pricing import DEFAULT_PRICES
from apps.core.pagination import Page, PageRequest, paginate


def prices() -> dict[str, int]:
    """Every price in credits: the operator's rows over the defaults."""
    rows = dict(Price.objects.values_list("key", "credits"))
    return {"signup": settings.SIGNUP_CREDITS, **DEFAULT_PRICES, **rows}


def price(key: str) -> int:
    """One of them, for calls that are in a hurry. Raises KeyError."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT credits FROM billing_price WHERE key = %s", [key])
        row = cursor.fetchone()
    return DEFAULT_PRICES[key] if row is None else int(row[0])


def account(*, workspace_id: uuid.UUID) -> CreditAccount:
    """The workspace's balances; an unsaved empty account for one that never had any."""
    found = CreditAccount.objects.filter(workspace_id=workspace_id).first()
    return found or CreditAccount(workspace_id=workspace_id)


def ledger(*, workspace_id: uuid.UUID, page: PageRequest) -> Page[LedgerEntry]:
    return paginate(LedgerEntry.objects.filter(workspace_id=workspace_id), page, by=("seq",))


@dataclass(frozen=True, slots=True)
class OpenHolds:
    """`overdue`: how many are past their expiry. A sweep looks into them within minutes."""

    count: int
    credits: int
    overdue: int


def open_holds(*, now: datetime) -> OpenHolds:
    """All workspaces' together."""
    total = Hold.objects.filter(status=Hold.Status.OPEN).aggregate(
        count=Count("id"), credits=Sum("amount", default=0), overdue=Count("id", filter=Q(expires_at__lt=now))
    )
    return OpenHolds(**total)


def expired_holds(*, now: datetime, limit: int) -> list[tuple[uuid.UUID, str]]:
    """Workspace and reference of open holds past their expiry, the oldest first."""
    late = Hold.objects.filter(status=Hold.Status.OPEN, expires_at__lt=now).order_by("expires_at")
    return list(late.values_list("workspace_id", "reference")[:limit])
