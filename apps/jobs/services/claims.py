"""Who works on a job: claims, leases, fencing.

A claim is a lease on the job: `fence` counts the claims, and whoever holds an older one than the row changes nothing.
Leases are judged by the clocks of our own machines, which must agree to within a few seconds.
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
from apps.jobs.services.enqueue_job import tell_a_worker
from apps.jobs.services.event_log import Happened

_LOCK_CLASS = 0x62_6A  # "bj": our advisory locks, one for each workspace with jobs of which it may run a few


class LeaseLost(Exception):
    """The claim is no longer the job's latest, or the job is over: whoever holds it must stop and write nothing."""


@dataclass(frozen=True, slots=True)
class Claim:
    job_id: uuid.UUID
    workspace_id: uuid.UUID
    owner: str
    fence: int

    @classmethod
    def of(cls, job: Job) -> Claim:
        """The claim on a job that this process has just claimed (or created as a sync one)."""
        return cls(job_id=job.id, workspace_id=job.workspace_id, owner=job.owner, fence=job.fence)


def this_process() -> str:
    """A name that no other process has, nor a later one with the same pid."""
    return _named(os.getpid())


@functools.cache
def _named(pid: int) -> str:
    return f"{socket.gethostname()[:60]}:{pid}:{secrets.token_hex(4)}"


@transaction.atomic
def claim(*, job_id: uuid.UUID, owner: str, now: datetime | None = None) -> Claim | None:
    """Takes a queued job, or one whose lease ran out. None: another has it, it is over, or its workspace has as many of
    that lane under way as it may (the job then stays queued).
    """
    now = now or timezone.now()
    known = selectors.kind_of(job_id=job_id)
    if known is None:
        return None
    lane = LANE_OF[known.kind]
    cap = lane.cap_of_a_workspace()
    if cap is not None and not known.has_agent:
        _take_turns(known.workspace_id)
        if selectors.under_way(workspace_id=known.workspace_id, lane=lane, now=now) >= cap:
            return None
    job = event_log.lock(job_id)
    happened = [Happened("started", {"owner": owner})]
    if lease_ran_out(job, now=now):
        if job.attempts + 1 >= settings.JOB_MAX_ATTEMPTS:
            return None  # the reaper decides
        happened.insert(0, Happened("requeued", {"reason": "lease_expired"}))
    elif job.status != Job.Status.QUEUED:
        return None
    event_log.append(job, *happened, now=now, lease_until=_lease_from(now))
    return Claim.of(job)


def lease_ran_out(job: Job, *, now: datetime) -> bool:
    return job.status == Job.Status.RUNNING and job.lease_until is not None and job.lease_until < now


def heartbeat(claim: Claim, *, now: datetime | None = None) -> None:
    """Makes the lease last longer. Raises LeaseLost."""
    ours = Job.objects.filter(id=claim.job_id, fence=claim.fence, status=Job.Status.RUNNING, owner=claim.owner)
    if ours.update(lease_until=_lease_from(now or timezone.now())) != 1:
        raise LeaseLost(f"job {claim.job_id}, fence {claim.fence}")


@transaction.atomic
def give_back(claim: Claim, *, now: datetime | None = None) -> None:
    """Puts the job back into the queue because its worker has to stop: this counts as no attempt. Raises LeaseLost."""
    now = now or timezone.now()
    job = lock_claimed(claim)
    requeued = Happened("requeued", {"reason": "worker_stopping"})
    event_log.append(job, requeued, now=now, lease_until=None, enqueued_at=now)
    tell_a_worker(job_id=job.id, kind=selectors.as_kind(job.kind))


def lock_claimed(claim: Claim) -> Job:
    """The job that the claim is for, locked. Raises LeaseLost."""
    job = event_log.lock(claim.job_id)
    if job.status != Job.Status.RUNNING or (job.fence, job.owner) != (claim.fence, claim.owner):
        raise LeaseLost(f"job {claim.job_id}, fence {claim.fence}: it is {job.status} with fence {job.fence}")
    return job


def _lease_from(now: datetime) -> datetime:
    return now + timedelta(seconds=settings.JOB_LEASE_SECONDS)


def _take_turns(workspace_id: uuid.UUID) -> None:
    """Until the transaction ends no other claims such a job of this workspace: counting and claiming go together."""
    with connection.cursor() as cursor:
        key = zlib.crc32(workspace_id.bytes) - 2**31
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_LOCK_CLASS, key])
