"""What beat does so that no task outlives its time, and no screenshot its use. Safe to run twice, or beside itself."""

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

# The worker ends a task at its deadline itself; after this long beat does it.
GRACE = timedelta(seconds=30)
_AT_ONCE = 200


def end_overdue(*, now: datetime | None = None) -> int:
    """Ends tasks that have no worker to do it, and those whose human has not answered. Returns how many."""
    now = now or timezone.now()
    late = selectors.overdue(before=now - GRACE, limit=_AT_ONCE)
    unanswered = [job.id for job in selectors.waiting_for_input() if _asked_until(job) <= now]
    ended = sum(_end(job_id, now, "The task's time was up before a worker could finish it.") for job_id in late)
    return ended + sum(_end(job_id, now, "Nobody answered the task's question in time.") for job_id in unanswered)


@transaction.atomic
def _end(job_id: uuid.UUID, now: datetime, message: str) -> bool:
    job = event_log.lock(job_id)
    # As it is now, under the lock: it may have gone on, or asked, or been answered.
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
    """Returns how many went."""
    before = (now or timezone.now()) - timedelta(days=settings.SCREENSHOT_DAYS)
    return StepScreenshot.objects.filter(created_at__lt=before).delete()[0]
