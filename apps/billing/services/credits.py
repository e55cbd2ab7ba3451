"""Credits that are added or taken at once, without a hold."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.utils import timezone

from apps.accounts.models import Workspace
from apps.billing.models import CreditAccount, LedgerEntry
from apps.billing.services.ledger import Change, Source, append, in_transaction, lock_account
from apps.core.errors import InsufficientCredit

Kind = LedgerEntry.Kind


def open_account(*, workspace: Workspace) -> CreditAccount:
    """Creates a new workspace's account with its signup credits."""
    account = CreditAccount.objects.get_or_create(workspace=workspace)[0]
    if settings.SIGNUP_CREDITS:
        grant(
            workspace_id=workspace.id,
            amount=settings.SIGNUP_CREDITS,
            reference="signup",
            description="Signup credits",
        )
    return account


def grant(*, workspace_id: uuid.UUID, amount: int, reference: str, description: str) -> LedgerEntry:
    """Adds credits as a gift. Raises ValueError unless `amount` is positive."""
    return _move(Kind.GRANT, workspace_id, _positive(amount), reference, Source(description))


def top_up(*, workspace_id: uuid.UUID, amount: int, reference: str, description: str) -> LedgerEntry:
    """Adds credits that were paid for. Raises ValueError unless `amount` is positive."""
    return _move(Kind.TOP_UP, workspace_id, _positive(amount), reference, Source(description))


def refund(*, workspace_id: uuid.UUID, amount: int, reference: str, description: str) -> LedgerEntry:
    """Takes back credits that were refunded. Raises ValueError unless `amount` is positive, and InsufficientCredit
    when fewer are available.
    """
    return _move(Kind.REFUND, workspace_id, -_positive(amount), reference, Source(description))


def adjust(*, workspace_id: uuid.UUID, amount: int, reference: str, description: str) -> LedgerEntry:
    """An operator's correction, up or down. Raises ValueError for 0, and InsufficientCredit when it would take more
    than is available: held credits stay held.
    """
    if amount == 0:
        raise ValueError("an adjustment must not be 0")
    return _move(Kind.ADJUSTMENT, workspace_id, amount, reference, Source(description))


def renew(*, workspace_id: uuid.UUID, amount: int, reference: str, source: Source) -> LedgerEntry:
    """Takes an identity's price for a period. Raises InsufficientCredit."""
    return _move(Kind.RENEWAL, workspace_id, -_positive(amount), reference, source)


def _positive(amount: int) -> int:
    if amount <= 0:
        raise ValueError("the number of credits must be positive")
    return amount


def _move(kind: Kind, workspace_id: uuid.UUID, amount: int, reference: str, source: Source) -> LedgerEntry:
    with in_transaction():
        account = lock_account(workspace_id=workspace_id)
        first = LedgerEntry.objects.filter(workspace_id=workspace_id, reference=reference).first()
        if first is not None:
            return first
        available = account.head().available
        if available + amount < 0:
            raise InsufficientCredit(f"insufficient credit: {-amount} needed, {available} available")
        (appended,) = append(account, Change(kind, amount, 0, reference, source), now=timezone.now())
        return appended.entry()
