"""How jobs begin."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.billing import services as billing
from apps.core import enqueue, idempotency, request_ids
from apps.jobs.kinds import LANE_OF, Kind
from apps.jobs.models import Job
from apps.jobs.services import appending
from apps.jobs.services.appending import Happened
from apps.jobs.services.claiming import this_process

RUN_TASK = "jobs.run"


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
    """A new job with `hold` credits set aside for it. Raises InsufficientCredit.

    An asynchronous one is queued, and a worker is told. A `sync` one is already claimed by this process (see
    `Claim.of`), which must end it: it costs one transaction to begin and one to end. `page_credits` is the price of
    each completed page.
    """
    now = now or timezone.now()
    job_id = job_id or uuid.uuid4()
    held = billing.hold(
        workspace_id=workspace_id,
        amount=hold,
        reference=f"job:{job_id}",
        source=billing.Source(description=kind.capitalize(), agent_id=agent_id, job_id=job_id),
    )
    queued = {"progress_total": progress_total, "agent_id": agent_id, "request_id": request_ids.current()}
    happened = [Happened("queued", queued)]
    if sync:
        happened.append(Happened("started", {"owner": this_process()}))
    job = Job(
        id=job_id,
        workspace_id=workspace_id,
        kind=kind,
        framework=framework,
        params=params,
        metadata=metadata or {},
        sync=sync,
        hold_reference=held.reference,
        page_credits=page_credits,
        lease_until=now + timedelta(seconds=settings.JOB_LEASE_SECONDS) if sync else None,
        enqueued_at=None if sync else now,
    )
    appending.begin(job, *happened, now=now)
    idempotency.bind("job", str(job.id))
    if not sync:
        tell_a_worker(job_id=job.id, kind=kind)
    return job


def tell_a_worker(*, job_id: uuid.UUID, kind: Kind) -> None:
    """After the commit. The message is a hint: without it the relay sends another."""
    enqueue.on_commit(RUN_TASK, str(job_id), queue=LANE_OF[kind].queue)
