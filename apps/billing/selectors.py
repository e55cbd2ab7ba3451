"""Reads of accounts, the ledger, holds, checkouts and prices."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import connection
from django.db.models import Count, F, Q, Sum

from apps.billing.models import Checkout, CreditAccount, Hold, LedgerEntry
from apps.billing.pricing import DEFAULT_PRICES
from apps.core.errors import NotFound
from apps.core.pagination import CursorPage, CursorQuery, paginate
from apps.core.prepared import Prepared

_PRICES = Prepared("read_prices", "SELECT key, credits FROM billing_price")
_PRICE = Prepared("read_price", "SELECT credits FROM billing_price WHERE key = %s")


def prices() -> dict[str, int]:
    """Every price in credits: the operator's rows over the defaults."""
    with connection.cursor() as cursor:
        _PRICES.execute(cursor, [])
        rows = dict(cursor.fetchall())
    return {"signup": settings.SIGNUP_CREDITS, **DEFAULT_PRICES, **rows}


def price(key: str) -> int:
    """One price, in one prepared statement. Raises KeyError."""
    with connection.cursor() as cursor:
        _PRICE.execute(cursor, [key])
        row = cursor.fetchone()
    return DEFAULT_PRICES[key] if row is None else int(row[0])


def account(*, workspace_id: uuid.UUID) -> CreditAccount:
    """The workspace's account; an unsaved, empty one when there is none yet."""
    found = CreditAccount.objects.filter(workspace_id=workspace_id).first()
    return found or CreditAccount(workspace_id=workspace_id)


def ledger(*, workspace_id: uuid.UUID, page: CursorQuery) -> CursorPage[LedgerEntry]:
    return paginate(LedgerEntry.objects.filter(workspace_id=workspace_id), page, by=("seq",))


@dataclass(frozen=True, slots=True)
class OpenHolds:
    """`overdue`: how many are past their expiry. A sweep checks them within minutes."""

    count: int
    credits: int
    overdue: int


def open_holds(*, now: datetime) -> OpenHolds:
    """Of all workspaces together."""
    total = Hold.objects.filter(status=Hold.Status.OPEN).aggregate(
        count=Count("id"), credits=Sum("amount", default=0), overdue=Count("id", filter=Q(expires_at__lt=now))
    )
    return OpenHolds(**total)


def expired_holds(*, now: datetime, limit: int) -> list[tuple[uuid.UUID, str]]:
    """Workspace and reference of open holds past their expiry, the oldest first."""
    late = Hold.objects.filter(status=Hold.Status.OPEN, expires_at__lt=now).order_by("expires_at")
    return list(late.values_list("workspace_id", "reference")[:limit])


def checkout(*, workspace_id: uuid.UUID, checkout_id: uuid.UUID) -> Checkout:
    """Raises NotFound, also for another workspace's checkout."""
    found = Checkout.objects.filter(id=checkout_id, workspace_id=workspace_id).first()
    if found is None:
        raise NotFound("There is no such checkout in this workspace.")
    return found


def undecided_checkouts(
    *, starting_before: datetime, pending_before: datetime, checked_before: datetime, limit: int
) -> list[Checkout]:
    """Checkouts without a final status, the one checked longest ago first."""
    stale = Q(status=Checkout.Status.STARTING, created_at__lt=starting_before) | Q(
        status=Checkout.Status.PENDING, created_at__lt=pending_before
    )
    unasked = Q(checked_at=None) | Q(checked_at__lt=checked_before)
    rows = Checkout.objects.filter(stale, unasked)
    return list(rows.order_by(F("checked_at").asc(nulls_first=True), "created_at")[:limit])
