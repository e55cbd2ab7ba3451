"""Keeps a claim alive while a coroutine works under it, and tells the coroutine when the job is cancelled or lost."""

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
from apps.jobs.services.claims import Claim, ClaimLost
from apps.jobs.waiting import job_notifications

log = logging.getLogger(__name__)


class HeldClaim:
    """`cancelled`: the owner asked to end the job. `lost`: another process may have claimed it; write nothing more."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.cancelled = asyncio.Event()
        self.lost = asyncio.Event()


@asynccontextmanager
async def held(claim: Claim) -> AsyncIterator[HeldClaim]:
    """Sends three heartbeats in the time after which a claim expires. A cancellation is noticed within a second."""
    holding = HeldClaim(claim)
    tasks = [asyncio.create_task(_send_heartbeats(holding)), asyncio.create_task(_watch_job(holding))]
    try:
        yield holding
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                log.error("the heartbeat of a claim failed", extra={"job_id": claim.job_id}, exc_info=ended)


async def _send_heartbeats(holding: HeldClaim) -> None:
    last_success = time.monotonic()
    while time.monotonic() < last_success + settings.JOB_CLAIM_SECONDS:
        await asyncio.sleep(settings.JOB_CLAIM_SECONDS / 3)
        sent = time.monotonic()
        try:
            await sync_to_async(claims.heartbeat)(holding.claim)
        except ClaimLost:
            break
        except Error as error:
            log.warning("a heartbeat failed", extra={"job_id": holding.claim.job_id, "cause": type(error).__name__})
        else:
            last_success = sent
    holding.lost.set()


async def _watch_job(holding: HeldClaim) -> None:
    async with job_notifications.subscribed(holding.claim.job_id) as subscription:
        while not holding.lost.is_set():
            await subscription.changed(settings.JOB_CLAIM_SECONDS)
            head = subscription.head
            if head is None:
                continue
            if head.cancel_requested:
                holding.cancelled.set()
            if head.status != "running" or head.fence != holding.claim.fence:
                return  # the job has ended or another process has claimed it: the next heartbeat or write fails
