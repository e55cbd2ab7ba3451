"""What beat does so that no job is forgotten. Every sweep may run twice, or beside itself, without harm."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.jobs import selectors
from apps.jobs.models import Job
from apps.jobs.services import completion, event_log
from apps.jobs.services.claims import lease_ran_out
from apps.jobs.services.enqueue_job import tell_a_worker
from apps.jobs.services.event_log import Happened

# A message that no worker has taken for so long may be lost, or its job had to wait for a slot: another is sent.
UNHEARD_AFTER = timedelta(seconds=5)
_AT_ONCE = 200


def relay(*, now: datetime | None = None) -> int:
    """Sends another message for jobs that have waited in the queue. Returns how many."""
    now = now or timezone.now()
    waiting = selectors.unheard(before=now - UNHEARD_AFTER, limit=_AT_ONCE)
    return sum(_remind(job_id, now) for job_id in waiting)


@transaction.atomic
def _remind(job_id: uuid.UUID, now: datetime) -> bool:
    still = Job.objects.filter(id=job_id, status=Job.Status.QUEUED, enqueued_at__lt=now - UNHEARD_AFTER)
    if not still.update(enqueued_at=now):
        return False
    known = selectors.kind_of(job_id=job_id)
    assert known is not None
    tell_a_worker(job_id=job_id, kind=known.kind)
    return True


def reap(*, now: datetime | None = None) -> int:
    """Takes away the jobs of workers that have stopped beating. Returns how many."""
    now = now or timezone.now()
    return sum(_take_away(job_id, now) for job_id in selectors.abandoned(now=now, limit=_AT_ONCE))


@transaction.atomic
def _take_away(job_id: uuid.UUID, now: datetime) -> bool:
    """Requeued, so that another worker goes on from the rows that there are; at an end of patience, failed.

    A sync job goes the same way: its caller is gone, but its Idempotency-Key may come back.
    """
    job = event_log.lock(job_id)
    if not lease_ran_out(job, now=now):
        return False
    if job.cancel_requested_at is not None:
        completion.end_abandoned(job, now=now)
    elif job.attempts + 1 >= settings.JOB_MAX_ATTEMPTS:
        used, charged = (0, "Nothing was") if job.kind == Job.Kind.TASK else (None, "Only finished pages were")
        message = f"The job was lost {settings.JOB_MAX_ATTEMPTS} times in a row. {charged} charged."
        completion.end_failed(job, code="INTERNAL_ERROR", message=message, used=used, now=now)
    else:
        requeued = Happened("requeued", {"reason": "lease_expired"})
        event_log.append(job, requeued, now=now, lease_until=None, enqueued_at=now)
        tell_a_worker(job_id=job.id, kind=selectors.as_kind(job.kind))
    return True
