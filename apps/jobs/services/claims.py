"""Claims: which process executes a job, and until when.

Each claim increments the job's `fence`, the fencing token. A process with an older token than the row changes nothing.
A claim expires at `claim_until` unless heartbeats extend it. Expiry is judged by the clocks of the machines that run
Browsa, which must agree within a few seconds.
"""

from __future__ import annotations

import functools
import os
import secrets
import socket
import uuid
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from apps.jobs import selectors
from apps.jobs.kinds import LANE_OF
from apps.jobs.models import Job
from apps.jobs.services import event_log
from apps.jobs.services.enqueue_job import enqueue_job
from apps.jobs.services.event_log import NewEvent

_LOCK_CLASS = 0x62_6A  # "bj": advisory locks, one for each workspace, for lanes with a cap


class ClaimLost(Exception):
    """The claim is not the job's latest, or the job is over: its holder must stop and write nothing."""


@dataclass(frozen=True, slots=True)
class Claim:
    job_id: uuid.UUID
    workspace_id: uuid.UUID
    owner: str
    fence: int

    @classmethod
    def of(cls, job: Job) -> Claim:
        """The claim on a job that this process has just claimed, or created as a sync job."""
        return cls(job_id=job.id, workspace_id=job.workspace_id, owner=job.owner, fence=job.fence)


def this_process() -> str:
    """A name that no other process has, not even a later one with the same pid."""
    return _named(os.getpid())


@functools.cache
def _named(pid: int) -> str:
    return f"{socket.gethostname()[:60]}:{pid}:{secrets.token_hex(4)}"


@transaction.atomic
def claim(*, job_id: uuid.UUID, owner: str, now: datetime | None = None) -> Claim | None:
    """Claims a queued job, or one whose claim has expired. None when another process has claimed it, when it is over,
    or when its workspace runs as many jobs of that lane as it may (the job then stays queued).
    """
    now = now or timezone.now()
    known = selectors.kind_of(job_id=job_id)
    if known is None:
        return None
    lane = LANE_OF[known.kind]
    cap = lane.cap_of_a_workspace()
    if cap is not None and not known.has_agent:
        _lock_claims_of(known.workspace_id)
        if selectors.under_way(workspace_id=known.workspace_id, lane=lane, now=now) >= cap:
            return None
    job = event_log.lock(job_id)
    happened = [NewEvent("started", {"owner": owner})]
    if has_expired(job, now=now):
        if job.attempts + 1 >= settings.JOB_MAX_ATTEMPTS:
            return None  # the reaper ends it
        happened.insert(0, NewEvent("requeued", {"reason": "lease_expired"}))
    elif job.status != Job.Status.QUEUED:
        return None
    event_log.append(job, *happened, now=now, claim_until=_expiry(now))
    return Claim.of(job)


def has_expired(job: Job, *, now: datetime) -> bool:
    return job.status == Job.Status.RUNNING and job.claim_until is not None and job.claim_until < now


def heartbeat(claim: Claim, *, now: datetime | None = None) -> None:
    """Extends the claim. Raises ClaimLost."""
    ours = Job.objects.filter(id=claim.job_id, fence=claim.fence, status=Job.Status.RUNNING, owner=claim.owner)
    if ours.update(claim_until=_expiry(now or timezone.now())) != 1:
        raise ClaimLost(f"job {claim.job_id}, fence {claim.fence}")


@transaction.atomic
def give_back(claim: Claim, *, now: datetime | None = None) -> None:
    """Returns the job to the queue because its worker stops. This does not count as an attempt. Raises ClaimLost."""
    now = now or timezone.now()
    job = lock_claimed(claim)
    requeued = NewEvent("requeued", {"reason": "worker_stopping"})
    event_log.append(job, requeued, now=now, claim_until=None, enqueued_at=now)
    enqueue_job(job_id=job.id, kind=selectors.as_kind(job.kind))


def lock_claimed(claim: Claim) -> Job:
    """The job of the claim, with its row locked. Raises ClaimLost."""
    job = event_log.lock(claim.job_id)
    if job.status != Job.Status.RUNNING or (job.fence, job.owner) != (claim.fence, claim.owner):
        raise ClaimLost(f"job {claim.job_id}, fence {claim.fence}: it is {job.status} with fence {job.fence}")
    return job


def _expiry(now: datetime) -> datetime:
    return now + timedelta(seconds=settings.JOB_CLAIM_SECONDS)


def _lock_claims_of(workspace_id: uuid.UUID) -> None:
    """Until the transaction ends, no other process claims a job of this workspace: counting and claiming are atomic."""
    with connection.cursor() as cursor:
        key = zlib.crc32(workspace_id.bytes) - 2**31
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_LOCK_CLASS, key])
