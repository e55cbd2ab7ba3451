"""The only writer of ledger entries and account balances."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from django.db import connection, transaction

from apps.billing import chain
from apps.billing.models import CreditAccount, LedgerEntry
from apps.core.prepared import Prepared, execute_both

# Everything that costs credits runs these twice. SQL text costs a quarter of the time that the ORM needs to build it.
_LOCK = Prepared("lock_account", "SELECT FROM billing_creditaccount WHERE workspace_id = %s FOR UPDATE")
_ACCOUNT = Prepared(
    "read_account",
    "SELECT workspace_id, balance, held, seq, head_hash FROM billing_creditaccount WHERE workspace_id = %s",
)
_COLUMNS = (
    *("id", "workspace_id", "seq", "kind", "amount", "held_change", "balance_after", "held_after"),
    *("reference", "description", "agent_id", "job_id", "created_at", "prev_hash", "hash"),
)
_ROW = f"({', '.join(['%s'] * len(_COLUMNS))})"
_APPEND = """
    WITH {companion}entry AS (INSERT INTO billing_ledgerentry ({columns}) VALUES {rows})
    UPDATE billing_creditaccount SET balance = %s, held = %s, seq = %s, head_hash = %s
    WHERE workspace_id = %s{condition}
"""


@dataclass(frozen=True, slots=True)
class Source:
    """What the credits moved for."""

    description: str = ""
    agent_id: str = ""
    job_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A requested entry: `amount` changes the balance, `held_change` the held credits."""

    kind: LedgerEntry.Kind
    amount: int
    held_change: int
    reference: str
    source: Source


@dataclass(frozen=True, slots=True)
class CompanionWrite:
    """SQL that writes and returns one row, run in the same statement as the entries. No row: no write."""

    sql: str
    values: Sequence[Any]


@dataclass(frozen=True, slots=True)
class AppendedEntry:
    """A written entry. Few callers read it, so `entry` builds the model only on demand."""

    id: uuid.UUID
    line: chain.Line
    before: chain.LedgerHead
    after: chain.LedgerHead

    def values(self) -> list[Any]:
        """In the order of the columns."""
        line, after = self.line, self.after
        place = [self.id, line.workspace_id, after.seq, line.kind, line.amount, line.held_change]
        place += [after.balance, after.held, line.reference, line.description, line.agent_id, line.job_id]
        return [*place, line.created_at, self.before.hash, after.hash]

    def entry(self) -> LedgerEntry:
        entry = LedgerEntry(**dict(zip(_COLUMNS, self.values(), strict=True)))
        entry._state.adding, entry._state.db = False, connection.alias
        return entry


@contextmanager
def in_transaction() -> Iterator[None]:
    """A transaction, or the caller's without a savepoint, which would cost two round trips.

    The code inside raises only before its first write, so a savepoint would have nothing to undo.
    """
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        yield


def lock_account(*, workspace_id: uuid.UUID) -> CreditAccount:
    """Locks the workspace's account until the transaction ends: only one transaction at a time spends its credits."""
    row = lock_and_read(workspace_id, _ACCOUNT, [workspace_id])
    assert row is not None
    return account_from_row(row)


def lock_and_read(workspace_id: uuid.UUID, query: Prepared, values: Sequence[Any]) -> Sequence[Any] | None:
    """Locks the account, then returns the first row of `query`: two statements in one round trip.

    Two, because under READ COMMITTED each statement sees what was committed before it began: a single statement that
    joins the locked row with others would return those others as they were before the wait for the lock.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("an account can be locked only inside a transaction")
    with connection.cursor() as cursor:
        execute_both(cursor, _LOCK, [workspace_id], query, values)
        row: Sequence[Any] | None = cursor.fetchone()
        if row is None:  # the workspace has no account yet
            CreditAccount.objects.get_or_create(workspace_id=workspace_id)
            execute_both(cursor, _LOCK, [workspace_id], query, values)
            row = cursor.fetchone()
    return row


def account_from_row(row: Sequence[Any]) -> CreditAccount:
    """`row` begins with workspace, balance, held, seq and hash."""
    workspace_id, balance, held, seq, head_hash = row[:5]
    account = CreditAccount(workspace_id=workspace_id, balance=balance, held=held, seq=seq, head_hash=head_hash)
    account._state.adding, account._state.db = False, connection.alias
    return account


def append(
    account: CreditAccount, *changes: Change, now: datetime, companion: CompanionWrite | None = None
) -> list[AppendedEntry]:
    """Writes the changes as entries and updates the account, in one statement. `account` must be locked.

    Raises ValueError, and writes nothing, when a change would break a rule of the ledger (`chain.follow`).
    """
    appended = []
    head = account.head()
    for change in changes:
        line = chain.Line(
            workspace_id=account.workspace_id,
            kind=change.kind.value,
            amount=change.amount,
            held_change=change.held_change,
            reference=change.reference,
            description=change.source.description,
            agent_id=change.source.agent_id,
            job_id=change.source.job_id,
            created_at=now,
        )
        before, head = head, chain.follow(head, line)
        appended.append(AppendedEntry(uuid.uuid4(), line, before, head))
    statement = _append_statement(len(appended), companion.sql if companion else None)
    values = [*(companion.values if companion else ()), *(value for one in appended for value in one.values())]
    with connection.cursor() as cursor:
        statement.execute(cursor, [*values, head.balance, head.held, head.seq, head.hash, account.workspace_id])
        if cursor.rowcount != 1:
            raise RuntimeError(f"workspace {account.workspace_id}: its account, or the companion's row, has changed")
    account.seq, account.balance, account.held, account.head_hash = head.seq, head.balance, head.held, head.hash
    return appended


@cache
def _append_statement(entries: int, companion: str | None) -> Prepared:
    return Prepared(
        "append_to_ledger",
        _APPEND.format(
            companion=f"companion AS ({companion}), " if companion else "",
            columns=", ".join(_COLUMNS),
            rows=", ".join([_ROW] * entries),
            condition=" AND EXISTS (SELECT FROM companion)" if companion else "",
        ),
    )
