"""Periodic clean-up: ends overdue tasks and deletes old screenshots. Each sweep may run twice, or concurrently."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.core.times import from_rfc3339
from apps.jobs.lifecycle import TERMINAL
from apps.jobs.models import Job, StepScreenshot
from apps.jobs.services import completion, event_log
from apps.jobs.tasks import selectors

# The worker ends a task at its deadline. If it has not, beat does it after this time.
GRACE = timedelta(seconds=30)
_AT_ONCE = 200


def end_overdue(*, now: datetime | None = None) -> int:
    """Ends tasks past their deadline, and tasks with an unanswered question. Returns how many."""
    now = now or timezone.now()
    late = selectors.overdue(before=now - GRACE, limit=_AT_ONCE)
    unanswered = [job.id for job in selectors.waiting_for_input() if _asked_until(job) <= now]
    ended = sum(_end(job_id, now, "The task reached its deadline before a worker could finish it.") for job_id in late)
    return ended + sum(_end(job_id, now, "The task's question was not answered in time.") for job_id in unanswered)


@transaction.atomic
def _end(job_id: uuid.UUID, now: datetime, message: str) -> bool:
    job = event_log.lock(job_id)
    # Check again under the lock: the task may have made progress, asked a question or got its answer.
    if job.status == Job.Status.INPUT_REQUIRED:
        late = _asked_until(job) <= now
    else:
        late = job.status not in TERMINAL and selectors.is_overdue(job_id=job.id, before=now - GRACE)
    if not late:
        return False
    completion.end_failed(job, code="TIMEOUT", message=message, used=None, now=now)
    return True


def _asked_until(job: Job) -> datetime:
    assert job.input_request is not None
    return from_rfc3339(job.input_request["expires_at"])


def purge_screenshots(*, now: datetime | None = None) -> int:
    """Deletes screenshots that are too old. Returns how many."""
    before = (now or timezone.now()) - timedelta(days=settings.SCREENSHOT_DAYS)
    return StepScreenshot.objects.filter(created_at__lt=before).delete()[0]
