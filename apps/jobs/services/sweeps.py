"""Beat's sweeps over jobs. Each may run twice, also at the same time, without harm."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.jobs import selectors
from apps.jobs.models import Job, JobPage
from apps.jobs.services import completion, event_log
from apps.jobs.services.claims import has_expired
from apps.jobs.services.enqueue_job import enqueue_job
from apps.jobs.services.event_log import NewEvent

# After this time the message of a queued job may be lost, or the job had to wait for a slot: another one is sent.
RESEND_AFTER = timedelta(seconds=5)
_AT_ONCE = 200


def relay(*, now: datetime | None = None) -> int:
    """Sends another message for each job that waits in the queue. Returns the number of messages."""
    now = now or timezone.now()
    waiting = selectors.not_enqueued(before=now - RESEND_AFTER, limit=_AT_ONCE)
    return sum(_send_again(job_id, now) for job_id in waiting)


@transaction.atomic
def _send_again(job_id: uuid.UUID, now: datetime) -> bool:
    still = Job.objects.filter(id=job_id, status=Job.Status.QUEUED, enqueued_at__lt=now - RESEND_AFTER)
    if not still.update(enqueued_at=now):
        return False
    known = selectors.kind_of(job_id=job_id)
    assert known is not None
    enqueue_job(job_id=job_id, kind=known.kind)
    return True


def reap(*, now: datetime | None = None) -> int:
    """Takes the jobs of workers whose claims have expired. Returns the number of jobs."""
    now = now or timezone.now()
    return sum(_reclaim(job_id, now) for job_id in selectors.abandoned(now=now, limit=_AT_ONCE))


@transaction.atomic
def _reclaim(job_id: uuid.UUID, now: datetime) -> bool:
    """Requeues a job whose claim has expired, so that another worker continues from its stored pages or steps; fails it
    after too many attempts.

    A sync job is requeued too: its client is gone, but may repeat the call with its Idempotency-Key.
    """
    job = event_log.lock(job_id)
    if not has_expired(job, now=now):
        return False
    if job.cancel_requested_at is not None:
        completion.end_abandoned(job, now=now)
    elif job.attempts + 1 >= settings.JOB_MAX_ATTEMPTS:
        used, charged = (0, "Nothing was") if job.kind == Job.Kind.TASK else (None, "Only finished pages were")
        message = f"The job was lost {settings.JOB_MAX_ATTEMPTS} times in a row. {charged} charged."
        completion.end_failed(job, code="INTERNAL_ERROR", message=message, used=used, now=now)
    else:
        requeued = NewEvent("requeued", {"reason": "lease_expired"})
        event_log.append(job, requeued, now=now, claim_until=None, enqueued_at=now)
        enqueue_job(job_id=job.id, kind=selectors.as_kind(job.kind))
    return True


def purge_expired_pages(*, now: datetime | None = None) -> int:
    """Deletes the results of synchronous calls after their life. Returns the number of pages."""
    return JobPage.objects.filter(expires_at__lt=now or timezone.now()).delete()[0]
