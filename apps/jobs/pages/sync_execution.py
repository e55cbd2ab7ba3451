"""Synchronous quick calls: the API process executes the job on its event loop while the client waits.

The job is recorded and charged like any other, in one transaction before the page and one after it. When the client
disconnects, page and job are cancelled, free of charge. When this process dies, a worker executes the job.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.db import transaction

from apps.agents.services import quick_agents
from apps.agents.services.quick_agents import QuickAgent
from apps.core import idempotency, tracing
from apps.core.errors import ApiError, Conflict
from apps.jobs.kinds import Kind
from apps.jobs.models import Job
from apps.jobs.pages import services
from apps.jobs.pages.loading import Loaded, PageFailed, PageJob, load
from apps.jobs.services import completion
from apps.jobs.services.claims import Claim, ClaimLost
from apps.jobs.services.progress import PageRecord
from apps.jobs.worker import claim_heartbeat

log = logging.getLogger(__name__)

# The specification's cap for a call, the wait for a slot included. It is two seconds more than a page may take, so that
# the runner's own error arrives first.
MAX_SECONDS = 62.0
# Most pages are ready sooner. Only slower ones send heartbeats, and can be cancelled over the API.
UNWATCHED_SECONDS = 0.5


async def read_page(*, workspace_id: uuid.UUID, kind: Kind, params: dict[str, Any]) -> dict[str, Any]:
    """The body of the answer. Raises InsufficientCredit, the error of a page that failed, and Conflict when the job was
    cancelled over the API while it ran.
    """
    job = await _begin(workspace_id, kind, params)
    tracing.bind(job_id=job.id)
    claim = Claim.of(job)
    try:
        loaded = await _load(PageJob(job.id, workspace_id, kind, params, job.page_credits), claim)
    except PageFailed as failed:
        await _write(_fail, claim, agent=failed.agent, error=failed.error)
        raise failed.error from failed
    except BaseException:  # the client disconnected, the server stops, or a bug: the hold is released in each case
        await _write(_abandon, claim)
        raise
    await _write(_finish, claim, agent=loaded.agent, page=PageRecord(0, params["url"], "completed", loaded.body))
    return loaded.body


async def _begin(workspace_id: uuid.UUID, kind: Kind, params: dict[str, Any]) -> Job:
    """Creates the job. When the client disconnects during the transaction, the job is cancelled."""
    begin = sync_to_async(services.begin)
    writing = asyncio.ensure_future(begin(workspace_id=workspace_id, kind=kind, params=params, sync=True))
    try:
        return await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait({writing})
        if not writing.cancelled() and writing.exception() is None:
            await _write(_abandon, Claim.of(writing.result()))
        raise


async def _write(write: Callable[..., None], claim: Claim, **values: Any) -> None:
    """Runs a transaction that ends the job to its end, also when the client disconnects during it."""
    writing: asyncio.Future[None] = asyncio.ensure_future(sync_to_async(write)(claim, **values))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait({writing})
        raise
    except ClaimLost:
        # This process was stopped for so long that a worker has claimed the job. The job is charged there, once.
        log.warning("a synchronous job was taken over", extra={"job_id": claim.job_id})
        idempotency.mark_taken_over()


@transaction.atomic
def _finish(claim: Claim, *, agent: QuickAgent, page: PageRecord) -> None:
    quick_agents.record(workspace_id=claim.workspace_id, agents=[agent])
    completion.complete(claim, used=agent.cost_credits, page=page, agent_id=agent.id)


@transaction.atomic
def _fail(claim: Claim, *, agent: QuickAgent, error: ApiError) -> None:
    quick_agents.record(workspace_id=claim.workspace_id, agents=[agent])
    completion.fail(claim, code=error.code, message=error.message, agent_id=agent.id)


def _abandon(claim: Claim) -> None:
    completion.end_cancelled(claim, used=0)


async def _load(job: PageJob, claim: Claim) -> Loaded:
    """Raises PageFailed, or Conflict when the job was cancelled or claimed by a worker."""
    loading = asyncio.ensure_future(load(job, job.params["url"], within=MAX_SECONDS))
    try:
        done, _ = await asyncio.wait({loading}, timeout=UNWATCHED_SECONDS)
        if not done:
            await _watch(loading, claim)
        return await loading
    finally:
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)


async def _watch(loading: asyncio.Future[Loaded], claim: Claim) -> None:
    """Waits for the page and sends heartbeats. Raises Conflict when the job was cancelled or claimed by a worker."""
    async with claim_heartbeat.held(claim) as held:
        ended: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(event.wait()) for event in (held.cancelled, held.lost)
        ]
        try:
            await asyncio.wait([loading, *ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in ended:
                one.cancel()
        if not loading.done():
            raise Conflict(f"The job was {'taken over' if held.lost.is_set() else 'cancelled'} while it ran.")
