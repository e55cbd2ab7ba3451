"""Creates jobs."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.billing import services as billing
from apps.core import database, idempotency, tracing
from apps.jobs.kinds import Kind
from apps.jobs.models import Job
from apps.jobs.services import event_log
from apps.jobs.services.claims import this_process
from apps.jobs.services.enqueue_job import enqueue_job
from apps.jobs.services.event_log import NewEvent

# Longer than any job should take, its time in the queue included. If the job still runs then, its hold is extended.
HOLD_LIFE = timedelta(hours=6)


@transaction.atomic
def create_job(
    *,
    workspace_id: uuid.UUID,
    kind: Kind,
    params: dict[str, Any],
    hold: int,
    progress_total: int | None,
    page_credits: int = 0,
    metadata: dict[str, Any] | None = None,
    framework: str = "",
    agent_id: str = "",
    sync: bool = False,
    job_id: uuid.UUID | None = None,
    now: datetime | None = None,
) -> Job:
    """A new job with a hold of `hold` credits; each completed page costs `page_credits`. Raises InsufficientCredit.

    A `sync` job is claimed by this process (see `Claim.of`), which must end it. Other jobs are sent to the workers.
    The commit of a sync job does not wait for the disk: the commit of its end does, and no answer is sent before that.
    """
    now = now or timezone.now()
    job = Job(
        id=job_id or uuid.uuid4(),
        workspace_id=workspace_id,
        kind=kind,
        framework=framework,
        params=params,
        metadata=metadata or {},
        sync=sync,
        page_credits=page_credits,
        claim_until=now + timedelta(seconds=settings.JOB_CLAIM_SECONDS) if sync else None,
        enqueued_at=None if sync else now,
    )
    if sync:
        database.commit_asynchronously()
    job.hold_reference = _hold(job, hold, agent_id, now)
    queued: dict[str, Any] = {"progress_total": progress_total, "request_id": tracing.request_id()}
    if agent_id:
        queued["agent_id"] = agent_id
    started = [NewEvent("started", {"owner": this_process()})] if sync else []
    event_log.begin(job, NewEvent("queued", queued), *started, now=now)
    idempotency.bind("job", str(job.id))
    if not sync:
        enqueue_job(job_id=job.id, kind=kind)
    return job


def _hold(job: Job, amount: int, agent_id: str, now: datetime) -> str:
    source = billing.Source(description=job.kind.capitalize(), agent_id=agent_id, job_id=job.id)
    return billing.hold(
        workspace_id=job.workspace_id,
        amount=amount,
        reference=f"job:{job.id}",
        source=source,
        expires_at=now + HOLD_LIFE,
    ).reference
