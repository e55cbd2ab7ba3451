"""Credits reserved for running work: held at its start, captured and released at its end."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.db import connection
from django.utils import timezone

from apps.billing.models import CreditAccount, Hold, LedgerEntry
from apps.billing.services.ledger import (
    Change,
    CompanionWrite,
    Source,
    account_from_row,
    append,
    in_transaction,
    lock_and_read,
)
from apps.core.errors import InsufficientCredit
from apps.core.prepared import Prepared

Kind = LedgerEntry.Kind

# The expiry of a hold whose caller gives none.
USUAL_LIFE = timedelta(hours=24)

_COLUMNS = (
    *("id", "workspace_id", "reference", "amount", "captured", "status"),
    *("agent_id", "job_id", "created_at", "expires_at", "settled_at"),
)
_READ = Prepared(
    "read_hold",
    f"""
    SELECT account.workspace_id, account.balance, account.held, account.seq, account.head_hash,
           {", ".join(f"hold.{name}" for name in _COLUMNS)}
    FROM billing_creditaccount account
    LEFT JOIN billing_hold hold ON hold.workspace_id = account.workspace_id AND hold.reference = %s
    WHERE account.workspace_id = %s
""",  # noqa: S608  constants only
)
_INSERT = f"""
    INSERT INTO billing_hold ({", ".join(_COLUMNS)})
    VALUES (%s, %s, %s, %s, NULL, 'open', %s, %s, %s, %s, NULL) RETURNING id
"""  # noqa: S608  constants only
# `captured IS NULL` means open. With `status` in the condition the planner would choose the index of open holds by
# expiry, which has a dead entry for every hold settled since the last vacuum.
_SETTLE = """
    UPDATE billing_hold SET status = 'settled', captured = %s, settled_at = %s WHERE id = %s AND captured IS NULL
    RETURNING id
"""


def hold(
    *,
    workspace_id: uuid.UUID,
    amount: int,
    reference: str,
    source: Source,
    expires_at: datetime | None = None,
) -> Hold:
    """Reserves `amount` credits. Raises InsufficientCredit when fewer are available.

    `expires_at`: after the latest end of the work. `expired_holds` checks a hold that is still open then.
    """
    with in_transaction():
        account, first = lock_with_hold(workspace_id=workspace_id, reference=reference)
        if first is not None:
            return first
        return hold_locked(account, amount=amount, reference=reference, source=source, expires_at=expires_at)


def hold_locked(
    account: CreditAccount, *, amount: int, reference: str, source: Source, expires_at: datetime | None = None
) -> Hold:
    """`hold` under the account's lock, for a reference that no hold has yet."""
    if amount < 0:
        raise ValueError("the amount of a hold must not be negative")
    available = account.head().available
    if available < amount:
        raise InsufficientCredit(f"insufficient credit: {amount} needed, {available} available")
    now = timezone.now()
    made = _as_saved(
        Hold(
            workspace_id=account.workspace_id,
            reference=reference,
            amount=amount,
            agent_id=source.agent_id,
            job_id=source.job_id,
            created_at=now,
            expires_at=expires_at or now + USUAL_LIFE,
        )
    )
    values = [made.id, account.workspace_id, reference, amount, made.agent_id, made.job_id, now, made.expires_at]
    change = Change(Kind.HOLD, 0, amount, f"{reference}:hold", source)
    append(account, change, now=now, companion=CompanionWrite(_INSERT, values))
    return made


def settle(*, workspace_id: uuid.UUID, reference: str, used: int, description: str = "") -> Hold:
    """Ends a hold: captures `used` and releases the rest. Later calls for the same hold change nothing.

    Raises ValueError unless 0 <= `used` <= the held amount, and Hold.DoesNotExist when there is no such hold.
    """
    with in_transaction():
        account, held = lock_with_hold(workspace_id=workspace_id, reference=reference)
        if held is None:
            raise Hold.DoesNotExist
        return settle_locked(account, held, used=used, description=description)


def settle_locked(account: CreditAccount, held: Hold, *, used: int, description: str) -> Hold:
    """`settle` for a hold that was read under its account's lock."""
    if held.status == Hold.Status.SETTLED:
        return held
    if not 0 <= used <= held.amount:
        raise ValueError(f"{used} of {held.amount} held credits can't be captured")
    now = timezone.now()
    source = Source(description=description, agent_id=held.agent_id, job_id=held.job_id)
    changes = []
    if used:
        changes.append(Change(Kind.CAPTURE, -used, -used, f"{held.reference}:capture", source))
    if held.amount > used:
        changes.append(Change(Kind.RELEASE, 0, used - held.amount, f"{held.reference}:release", source))
    companion = CompanionWrite(_SETTLE, [used, now, held.id])
    if changes:
        append(account, *changes, now=now, companion=companion)
    else:  # a hold of 0 credits
        with connection.cursor() as cursor:
            cursor.execute(companion.sql, companion.values)
    held.status, held.captured, held.settled_at = Hold.Status.SETTLED, used, now
    return held


def lock_with_hold(*, workspace_id: uuid.UUID, reference: str) -> tuple[CreditAccount, Hold | None]:
    """Locks the workspace's account. Returns it with the hold of that reference, read under the lock."""
    row = lock_and_read(workspace_id, _READ, [reference, workspace_id])
    assert row is not None
    values = row[5:]
    held = None if values[0] is None else _as_saved(Hold(**dict(zip(_COLUMNS, values, strict=True))))
    return account_from_row(row), held


def _as_saved(row: Hold) -> Hold:
    """Marks a model that raw SQL read or wrote as present in the database."""
    row._state.adding, row._state.db = False, connection.alias
    return row
