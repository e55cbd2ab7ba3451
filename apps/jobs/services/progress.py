"""What an executor writes down while it works. Everything raises LeaseLost when the claim is no longer the latest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from django.db import connection, transaction
from django.utils import timezone

from apps.jobs.models import Job, pack
from apps.jobs.services import event_log
from apps.jobs.services.claims import Claim, lock_claimed
from apps.jobs.services.event_log import Happened

PageStatus = Literal["completed", "failed"]

_INSERT_ONCE = """
    INSERT INTO jobs_jobpage (job_id, position, url, status, packed, size, created_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (job_id, position) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class PageRecord:
    """What one page gave. `payload` is its row in the job's result.

    `credits` is what it costs; by default a completed page costs the job's `page_credits`, a failed one nothing.
    """

    position: int
    url: str
    status: PageStatus
    payload: dict[str, Any]
    credits: int | None = None


@transaction.atomic
def record_page(claim: Claim, page: PageRecord) -> bool:
    """Stores a page and counts it. False when that position is stored already: then nothing is counted or charged."""
    packed = pack(page.payload)  # before the lock: this may take a while
    job = lock_claimed(claim)
    happened = insert_page(job, page, packed)
    if happened is None:
        return False
    event_log.append(job, happened)
    return True


def insert_page(job: Job, page: PageRecord, packed: tuple[bytes, int] | None = None) -> Happened | None:
    """The row of a page of a locked job, and the event to append with it; None when the row is there already."""
    content, size = packed or pack(page.payload)
    values = (job.id, page.position, page.url, page.status, content, size, timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(_INSERT_ONCE, values)
        if cursor.rowcount != 1:
            return None
    cost = page.credits
    if cost is None:
        cost = job.page_credits if page.status == "completed" else 0
    return Happened("page", {"position": page.position, "url": page.url, "status": page.status, "credits": cost})


@transaction.atomic
def progress(claim: Claim, *, done: int | None = None, total: int | None = None) -> None:
    """Says how far the job is. Pages count themselves: batches need this not at all, crawls for a growing total."""
    data = {name: value for name, value in (("done", done), ("total", total)) if value is not None}
    event_log.append(lock_claimed(claim), Happened("progress", data))


@transaction.atomic
def attach(claim: Claim, *, agent_id: str, live_url: str = "") -> None:
    """Says in which agent the job runs."""
    event_log.append(lock_claimed(claim), Happened("attached", {"agent_id": agent_id, "live_url": live_url}))
