"""Keeps a lease while a coroutine works under it, and hears when the job is cancelled or lost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import Error

from apps.jobs.services import claims
from apps.jobs.services.claims import Claim, LeaseLost
from apps.jobs.waiting import job_notifications

log = logging.getLogger(__name__)


class Lease:
    """`cancelled`: the owner wants the job to end. `lost`: another has it, or may have; write nothing more."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.cancelled = asyncio.Event()
        self.lost = asyncio.Event()


@asynccontextmanager
async def kept(claim: Claim) -> AsyncIterator[Lease]:
    """Heartbeats three times in the lease's length. A cancel is heard within a second (see `job_notifications`)."""
    lease = Lease(claim)
    tasks = [asyncio.create_task(_beat(lease)), asyncio.create_task(_hear(lease))]
    try:
        yield lease
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                log.error("a lease was not kept", extra={"job_id": claim.job_id}, exc_info=ended)


async def _beat(lease: Lease) -> None:
    beaten = time.monotonic()
    while time.monotonic() < beaten + settings.JOB_LEASE_SECONDS:
        await asyncio.sleep(settings.JOB_LEASE_SECONDS / 3)
        sent = time.monotonic()
        try:
            await sync_to_async(claims.heartbeat)(lease.claim)
        except LeaseLost:
            break
        except Error as error:
            log.warning("a heartbeat failed", extra={"job_id": lease.claim.job_id, "cause": type(error).__name__})
        else:
            beaten = sent
    lease.lost.set()


async def _hear(lease: Lease) -> None:
    async with job_notifications.watching(lease.claim.job_id) as watch:
        while not lease.lost.is_set():
            await watch.news(settings.JOB_LEASE_SECONDS)
            if watch.head is None:
                continue
            if watch.head.cancel_requested:
                lease.cancelled.set()
            if watch.head.status != "running" or watch.head.fence != lease.claim.fence:
                return  # over, or another's: the next heartbeat or write will find out
