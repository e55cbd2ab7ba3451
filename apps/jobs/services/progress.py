"""What an executor records while it works. Each function raises ClaimLost when the claim is not the latest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from django.db import connection, transaction
from django.utils import timezone

from apps.jobs.models import Job, pack
from apps.jobs.services import event_log
from apps.jobs.services.claims import Claim, lock_claimed
from apps.jobs.services.event_log import NewEvent

PageStatus = Literal["completed", "failed"]

# The client of a synchronous call has its result. It can be read again for this time.
SYNC_RESULT_LIFE = timedelta(hours=24)

_INSERT_ONCE = """
    INSERT INTO jobs_jobpage (job_id, position, url, status, packed, size, created_at, expires_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (job_id, position) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class PageRecord:
    """The result of one page. `payload` is its row in the job's result.

    `credits` is its price; by default a completed page costs the job's `page_credits`, a failed one nothing.
    """

    position: int
    url: str
    status: PageStatus
    payload: dict[str, Any]
    credits: int | None = None


@transaction.atomic
def record_page(claim: Claim, page: PageRecord) -> bool:
    """Stores a page and counts it. False when the position was stored before: nothing is counted or charged then."""
    packed = pack(page.payload)  # compressed before the row is locked
    job = lock_claimed(claim)
    happened = insert_page(job, page, packed)
    if happened is None:
        return False
    event_log.append(job, happened)
    return True


def insert_page(job: Job, page: PageRecord, packed: tuple[bytes, int] | None = None) -> NewEvent | None:
    """Inserts the row of a page of a locked job. Returns the event to append; None when the row existed before."""
    content, size = packed or pack(page.payload)
    now = timezone.now()
    expires_at = now + SYNC_RESULT_LIFE if job.sync else None
    values = (job.id, page.position, page.url, page.status, content, size, now, expires_at)
    with connection.cursor() as cursor:
        cursor.execute(_INSERT_ONCE, values)
        if cursor.rowcount != 1:
            return None
    cost = page.credits
    if cost is None:
        cost = job.page_credits if page.status == "completed" else 0
    return NewEvent("page", {"position": page.position, "url": page.url, "status": page.status, "credits": cost})


@transaction.atomic
def progress(claim: Claim, *, done: int | None = None, total: int | None = None) -> None:
    """Records how far the job is. `record_page` counts pages; a crawl calls this when its total grows."""
    data = {name: value for name, value in (("done", done), ("total", total)) if value is not None}
    event_log.append(lock_claimed(claim), NewEvent("progress", data))


@transaction.atomic
def attach(claim: Claim, *, agent_id: str, live_url: str = "", credits: int = 0) -> None:
    """Records the agent in which the job runs, and its price if it has one of its own."""
    more = {name: value for name, value in (("live_url", live_url), ("credits", credits)) if value}
    event_log.append(lock_claimed(claim), NewEvent("attached", {"agent_id": agent_id, **more}))
