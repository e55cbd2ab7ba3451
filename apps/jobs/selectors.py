"""Reads of jobs."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from django.db import connection

from apps.core.errors import NotFound
from apps.core.pagination import Page, PageRequest, paginate
from apps.jobs.kinds import BULK, Kind
from apps.jobs.models import Job, JobEvent, JobPage
from apps.jobs.projection import FIELDS

# Without `params`, which are never shown and may be large.
_COLUMNS = ("id", "workspace_id", "kind", "framework", "metadata", "sync", "hold_reference", "page_credits", *FIELDS)
_ONE = f"SELECT {', '.join(_COLUMNS)} FROM jobs_job WHERE id = %s AND workspace_id = %s"  # noqa: S608  constants only


@dataclass(frozen=True, slots=True)
class Known:
    kind: Kind
    workspace_id: uuid.UUID


def job(*, workspace_id: uuid.UUID, job_id: uuid.UUID) -> Job:
    """Raises NotFound, also for another workspace's job."""
    for found in Job.objects.raw(_ONE, [job_id, workspace_id]):
        return found
    raise NotFound("There is no such job in this workspace.")


def jobs(*, workspace_id: uuid.UUID, status: str | None, kind: str | None, page: PageRequest) -> Page[Job]:
    rows = Job.objects.filter(workspace_id=workspace_id).defer("params")
    if status is not None:
        rows = rows.filter(status=status)
    if kind is not None:
        rows = rows.filter(kind=kind)
    return paginate(rows, page, by=("created_at", "id"))


def events(*, job_id: uuid.UUID, after: int, limit: int) -> list[JobEvent]:
    """In the order in which they happened."""
    return list(JobEvent.objects.filter(job_id=job_id, seq__gt=after).order_by("seq")[:limit])


def pages(*, job_id: uuid.UUID) -> list[JobPage]:
    """In the order of their positions."""
    return list(JobPage.objects.filter(job_id=job_id).order_by("position"))


def positions_done(*, job_id: uuid.UUID) -> set[int]:
    """Where an executor that resumes has nothing left to do."""
    return set(JobPage.objects.filter(job_id=job_id).values_list("position", flat=True))


def kind_of(*, job_id: uuid.UUID) -> Known | None:
    found = Job.objects.filter(id=job_id).values_list("kind", "workspace_id").first()
    return None if found is None else Known(cast(Kind, found[0]), found[1])


def running_bulk(*, workspace_id: uuid.UUID, now: datetime) -> int:
    """How many batches and crawls of the workspace somebody works on."""
    at_work = Job.objects.filter(status=Job.Status.RUNNING, lease_until__gte=now)
    return at_work.filter(workspace_id=workspace_id, kind__in=BULK).count()


def heads(*, job_ids: list[uuid.UUID]) -> dict[uuid.UUID, int]:
    """The number of the last event of each job."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, last_seq FROM jobs_job WHERE id = ANY(%s::uuid[])", [[str(i) for i in job_ids]])
        return dict(cursor.fetchall())
