"""The result of a job as the API shows it. Kinds that load pages build it from the rows of their pages."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db.models import Sum

from apps.jobs.models import Job, JobPage

Builder = Callable[[Job], dict[str, Any] | None]

# Kind -> the function that builds a result from the job's pages. Other kinds have their result in the job's row.
BUILDERS: dict[str, Builder] = {}

# A webhook event has a larger result's URL instead of the result. In bytes.
EVENT_LIMIT = 64 * 1024


def of(job: Job) -> Any:
    """The result of a job, complete or as far as it has come; None when there is none."""
    if job.result is not None:
        return job.result
    builder = BUILDERS.get(job.kind)
    return builder(job) if builder else None


def url(job: Job) -> str:
    return f"{settings.PUBLIC_URL}/v1/jobs/{job.id}/result"


def screenshot_url(job_id: uuid.UUID, step: int) -> str:
    return f"{settings.PUBLIC_URL}/v1/jobs/{job_id}/steps/{step}/screenshot"


def for_event(job: Job) -> Any:
    """The result if it is small enough for an event; otherwise the number of its pages and its URL."""
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
