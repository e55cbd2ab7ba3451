"""Synchronous quick calls: the API does the job itself, on its event loop, while the client waits.

The job is recorded and paid for like any other, in one transaction before the page and one after it. When the client
goes away the page is let go and the job is cancelled, free of charge; when this process dies a worker does the job.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async

from apps.core import idempotency, tracing
from apps.core.errors import Conflict
from apps.jobs.kinds import Kind
from apps.jobs.models import Job
from apps.jobs.pages import services
from apps.jobs.pages.loading import Loaded, PageFailed, PageJob, load
from apps.jobs.services.claims import Claim, LeaseLost
from apps.jobs.services.progress import PageRecord
from apps.jobs.worker import claim_heartbeat

log = logging.getLogger(__name__)

# The specification's cap for a call, with the wait for a place in it.
MAX_SECONDS = 62.0  # two more than a page may take, so that the runner's own words come first
# Most pages are read sooner; only those that take longer need a heartbeat, and an ear for their cancellation.
UNWATCHED_SECONDS = 0.5


async def read_page(*, workspace_id: uuid.UUID, kind: Kind, params: dict[str, Any]) -> dict[str, Any]:
    """The body of the answer. Raises InsufficientCredit and whatever a page can fail with; Conflict when the job was
    cancelled over the API meanwhile.
    """
    job = await _begin(workspace_id, kind, params)
    tracing.bind(job_id=job.id)
    claim = Claim.of(job)
    try:
        loaded = await _load(PageJob(job.id, workspace_id, kind, params, job.page_credits), claim)
    except PageFailed as failed:
        await _written(services.fail, claim, agent=failed.agent, error=failed.error)
        raise failed.error from failed
    except BaseException:  # the client is gone, or the server stops, or it is a bug: the books are settled all the same
        await _written(services.abandon, claim)
        raise
    # Under an Idempotency-Key the result must outlive this process: a repeat may be all that ever gets it.
    kept = PageRecord(0, params["url"], "completed", loaded.body) if idempotency.is_keyed() else None
    await _written(services.finish, claim, agent=loaded.agent, page=kept)
    return loaded.body


async def _begin(workspace_id: uuid.UUID, kind: Kind, params: dict[str, Any]) -> Job:
    """A client that goes away while the job is written leaves none behind."""
    begin = sync_to_async(services.begin)
    writing = asyncio.ensure_future(begin(workspace_id=workspace_id, kind=kind, params=params, sync=True))
    try:
        return await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait({writing})
        if not writing.cancelled() and writing.exception() is None:
            await _written(services.abandon, Claim.of(writing.result()))
        raise


async def _written(write: Callable[..., None], claim: Claim, **values: Any) -> None:
    """Writes the end of the job, also while the client goes away."""
    writing: asyncio.Future[None] = asyncio.ensure_future(sync_to_async(write)(claim, **values))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait({writing})
        raise
    except LeaseLost:
        # This process stood still for so long that a worker has taken the job over. It is charged there, once.
        log.warning("a synchronous job was taken over", extra={"job_id": claim.job_id})
        idempotency.mark_taken_over()


async def _load(job: PageJob, claim: Claim) -> Loaded:
    """Raises PageFailed, or Conflict."""
    loading = asyncio.ensure_future(load(job, job.params["url"], within=MAX_SECONDS))
    try:
        done, _ = await asyncio.wait({loading}, timeout=UNWATCHED_SECONDS)
        if not done:
            await _watched(loading, claim)
        return await loading
    finally:
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)


async def _watched(loading: asyncio.Future[Loaded], claim: Claim) -> None:
    """Waits for the page while the lease is kept. Raises Conflict when the job was cancelled or taken away."""
    async with claim_heartbeat.kept(claim) as lease:
        ended: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(event.wait()) for event in (lease.cancelled, lease.lost)
        ]
        try:
            await asyncio.wait([loading, *ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in ended:
                one.cancel()
        if not loading.done():
            raise Conflict(f"The job was {'taken over' if lease.lost.is_set() else 'cancelled'} while it ran.")
