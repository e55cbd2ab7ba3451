"""Writes to money. Each has a reference that is unique in its workspace: a repeat returns the first outcome.

All of them lock the workspace's account first, and may run inside the caller's transaction, so that the money moves
with what it pays for.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from apps.accounts.models import Workspace
from apps.billing import chain
from apps.billing.models import CreditAccount, Hold, LedgerEntry
from apps.core.errors import InsufficientCredit

Kind = LedgerEntry.Kind

# Everything that costs passes here twice. Written out, a statement costs a quarter of what the ORM takes to make it.
_LOCK = (
    "SELECT workspace_id, balance, held, seq, head_hash FROM billing_creditaccount WHERE workspace_id = %s FOR UPDATE"
)
_HOLD = "SELECT * FROM billing_hold WHERE workspace_id = %s AND reference = %s"
_SETTLE = "UPDATE billing_hold SET status = %s, captured = %s, settled_at = %s WHERE id = %s AND status = %s"
_APPEND = """
    WITH entry AS (
        INSERT INTO billing_ledgerentry (
            id, workspace_id, seq, kind, amount, held_change, balance_after, held_after,
            reference, description, agent_id, job_id, created_at, prev_hash, hash
        ) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    )
    UPDATE billing_creditaccount SET balance = %s, held = %s, seq = %s, head_hash = %s WHERE workspace_id = %s
"""


@dataclass(frozen=True, slots=True)
class Source:
    """What money moved for."""

    description: str = ""
    agent_id: str = ""
    job_id: uuid.UUID | None = None


def open_account(*, workspace: Workspace) -> CreditAccount:
    """A new workspace's account, with its signup credits."""
    account = CreditAccount.objects.get_or_create(workspace=workspace)[0]
    if settings.SIGNUP_CREDITS:
        grant(
            workspace_id=workspace.id,
            amount=settings.SIGNUP_CREDITS,
            reference="signup",
            description="Signup credits",
        )
    return account


@transaction.atomic
def grant(*, workspace_id: uuid.UUID, amount: int, reference: str, description: str) -> LedgerEntry:
    """Adds credits as a gift. Raises ValueError unless `amount` is positive."""
    return _add(Kind.GRANT, workspace_id, amount, reference, description)


@transaction.atomic
def top_up(*, workspace_id: uuid.UUID, amount: int, reference: str, description: str) -> LedgerEntry:
    """Adds credits that were paid for. Raises ValueError unless `amount` is positive."""
    return _add(Kind.TOP_UP, workspace_id, amount, reference, description)


def _add(kind: Kind, workspace_id: uuid.UUID, amount: int, reference: str, description: str) -> LedgerEntry:
    if amount <= 0:
        raise ValueError("only a positive number of credits can be added")
    account = lock_account(workspace_id=workspace_id)
    first = LedgerEntry.objects.filter(workspace_id=workspace_id, reference=reference).first()
    if first is not None:
        return first
    return _append(account, kind, amount, 0, reference, Source(description=description), timezone.now())


@transaction.atomic
def hold(
    *,
    workspace_id: uuid.UUID,
    amount: int,
    reference: str,
    source: Source,
    expires_at: datetime | None = None,
) -> Hold:
    """Sets `amount` credits aside. Raises InsufficientCredit when fewer are available."""
    account = lock_account(workspace_id=workspace_id)
    first = _hold(workspace_id, reference)
    if first is not None:
        return first
    if amount < 0:
        raise ValueError("a hold can't be negative")
    if account.head().available < amount:
        raise InsufficientCredit(f"insufficient credit: {amount} needed, {account.head().available} available")
    now = timezone.now()
    _append(account, Kind.HOLD, 0, amount, f"{reference}:hold", source, now)
    return Hold.objects.create(
        workspace_id=workspace_id,
        reference=reference,
        amount=amount,
        agent_id=source.agent_id,
        job_id=source.job_id,
        created_at=now,
        expires_at=expires_at,
    )


@transaction.atomic
def settle(*, workspace_id: uuid.UUID, reference: str, used: int, description: str = "") -> Hold:
    """Ends a hold: captures `used` and releases the rest. Only the first call for a hold does anything.

    Raises ValueError when `used` isn't within the hold, Hold.DoesNotExist when there is none.
    """
    account = lock_account(workspace_id=workspace_id)
    held = _hold(workspace_id, reference)
    if held is None:
        raise Hold.DoesNotExist
    if held.status == Hold.Status.SETTLED:
        return held
    if not 0 <= used <= held.amount:
        raise ValueError(f"{used} of {held.amount} held credits can't be captured")
    now = timezone.now()
    _mark_settled(held, used, now)
    source = Source(description=description, agent_id=held.agent_id, job_id=held.job_id)
    if used:
        _append(account, Kind.CAPTURE, -used, -used, f"{reference}:capture", source, now)
    if held.amount > used:
        _append(account, Kind.RELEASE, 0, used - held.amount, f"{reference}:release", source, now)
    return held


def _hold(workspace_id: uuid.UUID, reference: str) -> Hold | None:
    for found in Hold.objects.raw(_HOLD, [workspace_id, reference]):
        return found
    return None


def _mark_settled(held: Hold, used: int, now: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_SETTLE, [Hold.Status.SETTLED.value, used, now, held.id, Hold.Status.OPEN.value])
        if cursor.rowcount != 1:
            raise RuntimeError(f"hold {held.reference} was settled without the account's lock")
    held.status, held.captured, held.settled_at = Hold.Status.SETTLED, used, now


def lock_account(*, workspace_id: uuid.UUID) -> CreditAccount:
    """The workspace's account, locked until the transaction ends: whatever costs in one workspace takes turns."""
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("a lock lasts as long as a transaction")
    for account in CreditAccount.objects.raw(_LOCK, [workspace_id]):
        return account
    CreditAccount.objects.get_or_create(workspace_id=workspace_id)
    return CreditAccount.objects.raw(_LOCK, [workspace_id])[0]


def _append(
    account: CreditAccount,
    kind: Kind,
    amount: int,
    held_change: int,
    reference: str,
    source: Source,
    now: datetime,
) -> LedgerEntry:
    """The only place that writes the ledger and the account's balances. `account` must be locked."""
    line = chain.Line(
        workspace_id=account.workspace_id,
        kind=kind.value,
        amount=amount,
        held_change=held_change,
        reference=reference,
        description=source.description,
        agent_id=source.agent_id,
        job_id=source.job_id,
        created_at=now,
    )
    before = account.head()
    after = chain.follow(before, line)
    entry = LedgerEntry(
        workspace_id=line.workspace_id,
        seq=after.seq,
        kind=line.kind,
        amount=line.amount,
        held_change=line.held_change,
        balance_after=after.balance,
        held_after=after.held,
        reference=line.reference,
        description=line.description,
        agent_id=line.agent_id,
        job_id=line.job_id,
        created_at=line.created_at,
        prev_hash=before.hash,
        hash=after.hash,
    )
    _insert(entry)
    account.seq, account.balance, account.held, account.head_hash = (
        after.seq,
        after.balance,
        after.held,
        after.hash,
    )
    return entry


def _insert(entry: LedgerEntry) -> None:
    """The entry, and the account as it leaves it, in one statement."""
    e = entry
    values: list[Any] = [e.id, e.workspace_id, e.seq, e.kind, e.amount, e.held_change, e.balance_after, e.held_after]
    values += [e.reference, e.description, e.agent_id, e.job_id, e.created_at, e.prev_hash, e.hash]
    account: list[Any] = [e.balance_after, e.held_after, e.seq, e.hash, e.workspace_id]
    with connection.cursor() as cursor:
        cursor.execute(_APPEND, [*values, *account])
        if cursor.rowcount != 1:
            raise RuntimeError(f"workspace {e.workspace_id} has no account")
    e._state.adding, e._state.db = False, connection.alias
