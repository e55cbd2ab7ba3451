"""What a job gave, as the API shows it. Kinds that fetch pages build it from their rows."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db.models import Sum

from apps.jobs.models import Job, JobPage

Builder = Callable[[Job], dict[str, Any] | None]

# Kind -> what builds the result of a finished job from its `pages`. Kinds that are missing have it in their row.
BUILDERS: dict[str, Builder] = {}

# A webhook's receiver is told what there is to fetch when the result itself is larger than this.
EVENT_LIMIT = 64 * 1024


def of(job: Job) -> Any:
    """The result of a job, or what there is of it so far; None where there is none."""
    if job.result is not None:
        return job.result
    builder = BUILDERS.get(job.kind)
    return builder(job) if builder else None


def url(job: Job) -> str:
    return f"{settings.PUBLIC_URL}/v1/jobs/{job.id}/result"


def screenshot_url(job_id: uuid.UUID, step: int) -> str:
    return f"{settings.PUBLIC_URL}/v1/jobs/{job_id}/steps/{step}/screenshot"


def for_event(job: Job) -> Any:
    """The result if its rows are small enough for a message, else how many there are and where they can be had."""
    if job.result is not None or job.kind not in BUILDERS:
        return job.result
    size = JobPage.objects.filter(job_id=job.id).aggregate(total=Sum("size"))["total"] or 0
    if size <= EVENT_LIMIT:
        return of(job)
    completed = JobPage.objects.filter(job_id=job.id, status=JobPage.Status.COMPLETED).count()
    return {
        "truncated": True,
        "completed": completed,
        "failed": job.progress_done - completed,
        "result_url": url(job),
    }
