"""Adds the whole ledger up again and finds the first row that is wrong."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from django.db.models import Sum

from apps.billing import chain
from apps.billing.models import CreditAccount, Hold, LedgerEntry
from apps.core.snapshots import one_snapshot


def problems() -> Iterator[str]:
    """One sentence for each workspace whose books don't add up: the first thing wrong with it.

    Reads one snapshot of the database, so that it can run while credits move.
    """
    with one_snapshot():
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
    head = chain.Head()
    for entry in LedgerEntry.objects.filter(workspace_id=account.workspace_id).order_by("seq").iterator():
        try:
            after = chain.follow(head, entry.line())
        except ValueError as error:
            return f"entry {entry.id} (seq {entry.seq}): {error}"
        stated = chain.Head(seq=entry.seq, balance=entry.balance_after, held=entry.held_after, hash=entry.hash)
        if entry.prev_hash != head.hash or stated != after:
            return f"entry {entry.id} (seq {entry.seq}) should be {after}, preceded by {head.hash}"
        head = after
    if account.head() != head:
        return f"its account says {account.head()}, its ledger {head}"
    return _problem_with_holds(account.workspace_id, head)


def _problem_with_holds(workspace_id: uuid.UUID, head: chain.Head) -> str | None:
    holds = Hold.objects.filter(workspace_id=workspace_id)
    open_sum = holds.filter(status=Hold.Status.OPEN).aggregate(total=Sum("amount"))["total"] or 0
    if open_sum != head.held:
        return f"its open holds come to {open_sum}, its ledger holds {head.held}"
    captured = holds.aggregate(total=Sum("captured"))["total"] or 0
    entries = LedgerEntry.objects.filter(workspace_id=workspace_id, kind=LedgerEntry.Kind.CAPTURE)
    booked = -(entries.aggregate(total=Sum("amount"))["total"] or 0)
    if captured != booked:
        return f"its holds captured {captured}, its ledger {booked}"
    return None
