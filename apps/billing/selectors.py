"""Reads of money."""

from __future__ import annotations

from django.conf import settings

from apps.accounts.models import Workspace
from apps.billing.models import CreditAccount, LedgerEntry, Price
from apps.billing.pricing import DEFAULT_PRICES
from apps.core.pagination import Page, PageRequest, paginate


def prices() -> dict[str, int]:
    """Every price in credits: the operator's rows over the defaults."""
    rows = dict(Price.objects.values_list("key", "credits"))
    return {"signup": settings.SIGNUP_CREDITS, **DEFAULT_PRICES, **rows}


def account(*, workspace: Workspace) -> CreditAccount:
    """The workspace's balances; an unsaved empty account for one that never had any."""
    found = CreditAccount.objects.filter(workspace=workspace).first()
    return found or CreditAccount(workspace=workspace)


def ledger(*, workspace: Workspace, page: PageRequest) -> Page[LedgerEntry]:
    return paginate(LedgerEntry.objects.filter(workspace=workspace), page, by=("seq",))
