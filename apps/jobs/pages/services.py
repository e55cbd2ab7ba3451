"""Writes of jobs that read pages: the job itself, and the rows of its pages."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from apps.agents.services import quick_agents as agents
from apps.agents.services.quick_agents import QuickAgent
from apps.billing import selectors as billing
from apps.jobs.kinds import Kind
from apps.jobs.models import Job, pack
from apps.jobs.services import creation, event_log
from apps.jobs.services.claims import Claim, lock_claimed
from apps.jobs.services.progress import PageRecord, insert_page


@dataclass(frozen=True, slots=True)
class Row:
    """A finished page. `agent` is None when no browser was asked to load it."""

    page: PageRecord
    agent: QuickAgent | None = None


def begin(*, workspace_id: uuid.UUID, kind: Kind, params: dict[str, Any], pages: int = 1, sync: bool = False) -> Job:
    """A job that reads at most `pages` pages; their price is held. Raises InsufficientCredit."""
    price = billing.price("quick_page")
    return creation.create_job(
        workspace_id=workspace_id,
        kind=kind,
        params=params,
        hold=price * pages,
        page_credits=price,
        progress_total=pages,
        sync=sync,
    )


def store(claim: Claim, rows: Sequence[Row]) -> int:
    """Stores finished pages and counts the new ones, in one transaction. Returns the size of their JSON in bytes.

    Raises ClaimLost.
    """
    packed = [pack(row.page.payload) for row in rows]  # compressed before the row is locked
    with transaction.atomic():
        job = lock_claimed(claim)
        happened = [insert_page(job, row.page, content) for row, content in zip(rows, packed, strict=True)]
        new = [one for one in happened if one is not None]
        if new:
            event_log.append(job, *new)
            agents.record(workspace_id=claim.workspace_id, agents=[row.agent for row in rows if row.agent])
    return sum(size for _, size in packed)
