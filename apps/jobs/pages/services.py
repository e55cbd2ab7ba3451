"""Jobs that read pages: how they begin and end, and how the rows of their pages are kept."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from apps.agents.services import quick_agents as agents
from apps.agents.services.quick_agents import QuickAgent
from apps.billing import selectors as billing
from apps.core.errors import ApiError
from apps.jobs.kinds import Kind
from apps.jobs.models import Job, pack
from apps.jobs.services import completion, creation, event_log
from apps.jobs.services.claims import Claim, lock_claimed
from apps.jobs.services.progress import PageRecord, insert_page


@dataclass(frozen=True, slots=True)
class Row:
    """A finished page; `agent` is None for one that no browser was asked for."""

    page: PageRecord
    agent: QuickAgent | None = None


def begin(*, workspace_id: uuid.UUID, kind: Kind, params: dict[str, Any], pages: int = 1, sync: bool = False) -> Job:
    """A job that may read so many pages, the price of all of which is held. Raises InsufficientCredit."""
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


@transaction.atomic
def finish(claim: Claim, *, agent: QuickAgent, page: PageRecord | None = None) -> None:
    """The one page of a job was read. It is kept only if given. Raises LeaseLost."""
    agents.record(workspace_id=claim.workspace_id, agents=[agent])
    completion.complete(claim, used=agent.cost_credits, page=page)


@transaction.atomic
def fail(claim: Claim, *, agent: QuickAgent, error: ApiError) -> None:
    """The one page of a job gave nothing, and costs nothing. Raises LeaseLost."""
    agents.record(workspace_id=claim.workspace_id, agents=[agent])
    completion.fail(claim, code=error.code, message=error.message)


def abandon(claim: Claim) -> None:
    """Nobody waits for the page any more: it costs nothing. Raises LeaseLost."""
    completion.end_cancelled(claim, used=0)


def store(claim: Claim, rows: Sequence[Row]) -> int:
    """Keeps finished pages and counts those that are new, in one transaction. Returns the bytes of their JSON.

    Raises LeaseLost.
    """
    packed = [pack(row.page.payload) for row in rows]  # before the lock: this may take a while
    with transaction.atomic():
        job = lock_claimed(claim)
        happened = [insert_page(job, row.page, content) for row, content in zip(rows, packed, strict=True)]
        new = [one for one in happened if one is not None]
        if new:
            event_log.append(job, *new)
            agents.record(workspace_id=claim.workspace_id, agents=_agents(rows))
    return sum(size for _, size in packed)


def _agents(rows: Iterable[Row]) -> list[QuickAgent]:
    return [row.agent for row in rows if row.agent is not None]
