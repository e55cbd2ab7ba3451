"""Reads of jobs."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from django.db import connection
from django.db.models import Count, Min, Q, Sum

from apps.billing.hold_owners import WorkState
from apps.core.errors import NotFound
from apps.core.pagination import CursorPage, CursorQuery, paginate
from apps.core.prepared import PreparedRow
from apps.jobs.kinds import Kind, Lane
from apps.jobs.lifecycle import TERMINAL
from apps.jobs.models import Job, JobEvent, JobPage

# Without `params`, which may be large and are not shown.
_JOB = PreparedRow(Job, "id = %s AND workspace_id = %s", without=("params", "lease_until", "enqueued_at"))

_HEADS = """
    SELECT id, last_seq, status, fence, cancel_requested_at IS NOT NULL FROM jobs_job WHERE id = ANY(%s::uuid[])
"""
_NEXT = """
    SELECT waiting.id FROM jobs_job waiting
    LEFT JOIN LATERAL (
        SELECT count(*) AS jobs FROM jobs_job busy
        WHERE busy.workspace_id = waiting.workspace_id AND busy.status = 'running' AND busy.kind = ANY(%(kinds)s)
    ) running ON true
    WHERE waiting.status = 'queued' AND waiting.kind = ANY(%(kinds)s)
      AND (%(cap)s IS NULL OR running.jobs < %(cap)s OR waiting.agent_id <> '')
    ORDER BY running.jobs, waiting.created_at LIMIT 1
"""


LIVE_STATES = ("queued", "running", "input_required")
# Three queries, because each status has a partial index. One query for all would scan every job.
_LIVE = " UNION ALL ".join(
    f"SELECT status, kind, count(*) FROM jobs_job WHERE status = '{status}' GROUP BY 1, 2"  # noqa: S608  constants only
    for status in LIVE_STATES
)


@dataclass(frozen=True, slots=True)
class Known:
    """`has_agent`: the job continues in a browser that it has."""

    kind: Kind
    workspace_id: uuid.UUID
    has_agent: bool


def job(*, workspace_id: uuid.UUID, job_id: uuid.UUID) -> Job:
    """Raises NotFound, also for another workspace's job."""
    found = _JOB.first([job_id, workspace_id])
    if found is None:
        raise NotFound("There is no such job in this workspace.")
    return found


def jobs(*, workspace_id: uuid.UUID, status: str | None, kind: str | None, page: CursorQuery) -> CursorPage[Job]:
    rows = Job.objects.filter(workspace_id=workspace_id).defer("params")
    if status is not None:
        rows = rows.filter(status=status)
    if kind is not None:
        rows = rows.filter(kind=kind)
    return paginate(rows, page, by=("created_at", "id"))


def events(*, job_id: uuid.UUID, after: int, limit: int) -> list[JobEvent]:
    """Oldest first."""
    return list(JobEvent.objects.filter(job_id=job_id, seq__gt=after).order_by("seq")[:limit])


def pages(*, job_id: uuid.UUID) -> list[JobPage]:
    """In the order of their positions."""
    return list(JobPage.objects.filter(job_id=job_id).order_by("position"))


def each_page(*, job_id: uuid.UUID) -> Iterator[JobPage]:
    """The same as an iterator: the pages may be large."""
    return JobPage.objects.filter(job_id=job_id).order_by("position").iterator(chunk_size=8)


def size_of_pages(*, job_id: uuid.UUID) -> int:
    """Size of the unpacked JSON in bytes."""
    total: int | None = JobPage.objects.filter(job_id=job_id).aggregate(total=Sum("size"))["total"]
    return total or 0


def positions_done(*, job_id: uuid.UUID) -> set[int]:
    """The positions of pages that are stored: a resumed executor skips them."""
    return set(JobPage.objects.filter(job_id=job_id).values_list("position", flat=True))


def kind_of(*, job_id: uuid.UUID) -> Known | None:
    found = Job.objects.filter(id=job_id).values_list("kind", "workspace_id", "agent_id").first()
    return None if found is None else Known(as_kind(found[0]), found[1], has_agent=bool(found[2]))


def as_kind(text: str) -> Kind:
    """The column's choices are the Literal's values."""
    return cast(Kind, text)


def under_way(*, workspace_id: uuid.UUID, lane: Lane, now: datetime) -> int:
    """How many of the workspace's jobs of a lane run, or wait for a human while their browser is leased."""
    busy = Q(status=Job.Status.RUNNING, claim_until__gte=now) | Q(status=Job.Status.INPUT_REQUIRED)
    return Job.objects.filter(busy, workspace_id=workspace_id, kind__in=lane.kinds).count()


@dataclass(frozen=True, slots=True)
class JobHead:
    """The part of a job that a waiting coroutine compares."""

    last_seq: int
    status: str
    fence: int
    cancel_requested: bool

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL


def heads(*, job_ids: list[uuid.UUID]) -> dict[uuid.UUID, JobHead]:
    with connection.cursor() as cursor:
        cursor.execute(_HEADS, [[str(job_id) for job_id in job_ids]])
        return {job_id: JobHead(*rest) for job_id, *rest in cursor.fetchall()}


def next_waiting(*, lane: Lane) -> uuid.UUID | None:
    """The next queued job of a lane: the oldest one of the workspace with the fewest running jobs."""
    with connection.cursor() as cursor:
        cursor.execute(_NEXT, {"kinds": list(lane.kinds), "cap": lane.cap_of_a_workspace()})
        row = cursor.fetchone()
    return None if row is None else row[0]


def not_enqueued(*, before: datetime, limit: int) -> list[uuid.UUID]:
    """Queued jobs whose last message was sent before `before`."""
    waiting = Job.objects.filter(status=Job.Status.QUEUED, enqueued_at__lt=before)
    return list(waiting.order_by("enqueued_at", "created_at").values_list("id", flat=True)[:limit])


def abandoned(*, now: datetime, limit: int) -> list[uuid.UUID]:
    """Running jobs whose claim has expired."""
    lost = Job.objects.filter(status=Job.Status.RUNNING, claim_until__lt=now)
    return list(lost.order_by("claim_until").values_list("id", flat=True)[:limit])


def live_by_kind() -> dict[tuple[str, str], int]:
    """The number of jobs that are not over, by status and kind."""
    with connection.cursor() as cursor:
        cursor.execute(_LIVE)
        return {(status, kind): count for status, kind, count in cursor.fetchall()}


def longest_waits(*, now: datetime) -> dict[Kind, float]:
    """Seconds since the oldest queued job of each kind was created."""
    oldest = Job.objects.filter(status=Job.Status.QUEUED).values_list("kind").annotate(since=Min("created_at"))
    return {as_kind(kind): (now - since).total_seconds() for kind, since in oldest.order_by()}


def ended_by_kind(*, since: datetime, until: datetime) -> dict[tuple[str, ...], int]:
    """The number of jobs that ended from `since` until before `until`, by status and kind."""
    ended = Job.objects.filter(completed_at__gte=since, completed_at__lt=until)
    counts = ended.values_list("status", "kind").annotate(count=Count("id")).order_by()
    return {(status, kind): count for status, kind, count in counts}


def work_state(job_id: str) -> WorkState:
    """Whether a job with a hold still runs. A resolver for `apps.billing.hold_owners`."""
    try:
        status = Job.objects.filter(id=uuid.UUID(job_id)).values_list("status", flat=True).first()
    except ValueError:  # not a job's id
        return WorkState.UNKNOWN
    if status is None:
        return WorkState.UNKNOWN
    return WorkState.ENDED if status in TERMINAL else WorkState.RUNNING
