"""Recomputes the whole ledger and finds the first wrong row of each workspace."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connection

from apps.billing import chain
from apps.billing.models import CreditAccount, LedgerEntry
from apps.core.database import read_snapshot

# The first hold that does not match its entries: `:hold`, and the capture and release that its status requires.
_WRONG_HOLD = """
    SELECT hold.reference, hold.amount, hold.status, coalesce(hold.captured, 0),
           opening.held_change, coalesce(-capture.amount, 0), coalesce(-release.held_change, 0)
    FROM billing_hold hold
    LEFT JOIN billing_ledgerentry opening ON opening.workspace_id = hold.workspace_id
        AND opening.reference = hold.reference || ':hold' AND opening.kind = 'hold'
    LEFT JOIN billing_ledgerentry capture ON capture.workspace_id = hold.workspace_id
        AND capture.reference = hold.reference || ':capture' AND capture.kind = 'capture'
    LEFT JOIN billing_ledgerentry release ON release.workspace_id = hold.workspace_id
        AND release.reference = hold.reference || ':release' AND release.kind = 'release'
    WHERE hold.workspace_id = %s AND NOT (
        opening.held_change IS NOT DISTINCT FROM hold.amount
        AND opening.amount = 0
        AND coalesce(-capture.amount, 0) = coalesce(hold.captured, 0)
        AND coalesce(capture.held_change, 0) = coalesce(capture.amount, 0)
        AND coalesce(release.amount, 0) = 0
        AND coalesce(-release.held_change, 0) = CASE hold.status WHEN 'open' THEN 0 ELSE hold.amount - hold.captured END
    )
    ORDER BY hold.created_at, hold.id LIMIT 1
"""
# The first entry whose hold does not exist.
_WITHOUT_HOLD = """
    SELECT entry.id, entry.seq, entry.reference FROM billing_ledgerentry entry
    WHERE entry.workspace_id = %s AND entry.kind IN ('hold', 'capture', 'release') AND NOT EXISTS (
        SELECT FROM billing_hold hold WHERE hold.workspace_id = entry.workspace_id
        AND hold.reference = left(entry.reference, -length(entry.kind) - 1)
    )
    ORDER BY entry.seq LIMIT 1
"""


def problems() -> Iterator[str]:
    """One sentence for each workspace whose ledger is wrong: its first problem.

    Reads one snapshot of the database, so it can run while credits move.
    """
    with read_snapshot():
        for account in CreditAccount.objects.order_by("workspace_id").iterator():
            problem = _problem_with(account)
            if problem is not None:
                yield f"workspace {account.workspace_id}: {problem}"
        known = CreditAccount.objects.values("workspace_id")
        for workspace_id in (
            LedgerEntry.objects.exclude(workspace_id__in=known).values_list("workspace_id", flat=True).distinct()
        ):
            yield f"workspace {workspace_id}: has ledger entries but no account"


def _problem_with(account: CreditAccount) -> str | None:
    head = chain.LedgerHead()
    for entry in LedgerEntry.objects.filter(workspace_id=account.workspace_id).order_by("seq").iterator():
        try:
            after = chain.follow(head, entry.line())
        except ValueError as error:
            return f"entry {entry.id} (seq {entry.seq}): {error}"
        stated = chain.LedgerHead(seq=entry.seq, balance=entry.balance_after, held=entry.held_after, hash=entry.hash)
        if entry.prev_hash != head.hash or stated != after:
            return f"entry {entry.id} (seq {entry.seq}) should be {after}, preceded by {head.hash}"
        head = after
    if account.head() != head:
        return f"its account says {account.head()}, its ledger {head}"
    with connection.cursor() as cursor:
        cursor.execute(_WITHOUT_HOLD, [account.workspace_id])
        if row := cursor.fetchone():
            entry_id, seq, reference = row
            return f"entry {entry_id} (seq {seq}) is about {reference}, and there is no such hold"
        cursor.execute(_WRONG_HOLD, [account.workspace_id])
        if row := cursor.fetchone():
            reference, amount, status, captured, held, booked, released = row
            return (
                f"hold {reference} of {amount} is {status} with {captured} captured;"
                f" its ledger says held {held}, captured {booked}, released {released}"
            )
    return None
