"""Jobs in every situation, for tests."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from apps.jobs.kinds import Kind
from apps.jobs.models import Job, JobEvent
from apps.jobs.services import claims, creation, progress
from apps.jobs.services.claims import Claim
from apps.jobs.services.progress import PageRecord, PageStatus
from tests.cast import Member


def now() -> datetime:
    return datetime.now(UTC)


def make_job(member: Member, kind: Kind = "batch", *, pages: int = 3, **fields: Any) -> Job:
    """Holds one credit for each page."""
    fields = {"params": {}, "hold": pages, "progress_total": pages, "page_credits": 1, **fields}
    return creation.create_job(workspace_id=member.workspace.id, kind=kind, **fields)


def claimed(job: Job, owner: str = "worker", at: datetime | None = None) -> Claim:
    """A claim on the job. Fails if there is none."""
    claim = claims.claim(job_id=job.id, owner=owner, now=at)
    assert claim is not None
    return claim


def page(position: int, *, failed: bool = False, **payload: Any) -> PageRecord:
    url, status = f"http://site.test/{position}", cast(PageStatus, "failed" if failed else "completed")
    return PageRecord(position, url, status, {"url": url, "status": status, **payload})


def add_pages(claim: Claim, *positions: int) -> None:
    for position in positions:
        assert progress.record_page(claim, page(position))


def reread(job: Job | uuid.UUID) -> Job:
    return Job.objects.get(id=job if isinstance(job, uuid.UUID) else job.id)


def seconds_to_cancel(job: Job | uuid.UUID) -> float:
    """From the wish to the end, as the job's own history has them."""
    row = reread(job)
    assert row.cancel_requested_at is not None and row.completed_at is not None
    return (row.completed_at - row.cancel_requested_at).total_seconds()


def story(job: Job) -> list[str]:
    return list(JobEvent.objects.filter(job_id=job.id).order_by("seq").values_list("type", flat=True))


def after_the_claim() -> datetime:
    return now() + timedelta(seconds=16)
