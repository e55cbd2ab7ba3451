"""Executes jobs in a worker process: one event loop for all of them, and a few threads for the database.

A Celery thread calls `Worker.run` and blocks until the job ends. So a worker that is told to stop lets its jobs finish,
or returns them to the queue (see `kinds.Lane.yields`).
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import logging
import threading
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import InterfaceError, OperationalError

from apps.agents import page_client
from apps.core import tracing
from apps.core.database_threads import DatabaseThreads
from apps.jobs import selectors
from apps.jobs.kinds import LANE_OF, LANES, Lane
from apps.jobs.models import Job
from apps.jobs.services import claims, completion
from apps.jobs.services.claims import Claim, ClaimLost
from apps.jobs.services.enqueue_job import enqueue_job
from apps.jobs.worker import claim_heartbeat
from apps.jobs.worker.claim_heartbeat import HeldClaim
from apps.jobs.worker.executor import EXECUTORS, Cancelled, Completed, Executor, Failed, Outcome, Run, Waiting

log = logging.getLogger(__name__)

DATABASE_THREADS = 8
# Executors stop by themselves when a job is cancelled. One that does not stop in this time is stopped.
CANCEL_GRACE_SECONDS = 10.0
DISCONNECT_SECONDS = 5.0


class Worker:
    """The jobs that one process executes. `owner` is the name under which it claims them."""

    def __init__(
        self,
        *,
        owner: str,
        executors: Mapping[str, Executor] = EXECUTORS,
        lanes: Sequence[Lane] = LANES,
        cancel_grace: float = CANCEL_GRACE_SECONDS,
    ) -> None:
        self._owner = owner
        self._executors = executors
        self._cancel_grace = cancel_grace
        self._slots = {lane.queue: threading.BoundedSemaphore(lane.slots) for lane in lanes}
        self._threads = DatabaseThreads(DATABASE_THREADS, "jobs")
        self._loop = asyncio.new_event_loop()
        self._stopping, self._stopping_now = asyncio.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run_loop, name="jobs-loop", daemon=True)
        self._thread.start()

    def run(self, job_id: uuid.UUID) -> None:
        """Executes a job if it can be claimed and its lane has a free slot. Otherwise the job stays queued."""
        known = selectors.kind_of(job_id=job_id)
        if known is None or self._stopping.is_set():
            return
        lane = LANE_OF[known.kind]
        if not self._slots[lane.queue].acquire(blocking=False):
            return
        try:
            claim = claims.claim(job_id=job_id, owner=self._owner)
            if claim is not None:
                asyncio.run_coroutine_threadsafe(self._execute(claim, lane), self._loop).result()
        finally:
            self._slots[lane.queue].release()
        if claim is not None and not self._stopping.is_set():
            waiting = selectors.next_waiting(lane=lane)
            if waiting is not None:
                enqueue_job(job_id=waiting, kind=lane.kinds[0])

    def stop(self, *, at_once: bool = False) -> None:
        """Begins no more jobs, and returns those of lanes that yield to the queue; `at_once`, those of every lane."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        if at_once:
            self._loop.call_soon_threadsafe(self._stopping_now.set)

    def disconnect(self) -> None:
        """Closes the idle connections to the runner. Call it when no job runs. Raises TimeoutError."""
        asyncio.run_coroutine_threadsafe(page_client.close(), self._loop).result(DISCONNECT_SECONDS)

    def close(self) -> None:
        """Closes the connections to the runner, the loop and the threads, also while they are busy."""
        self.disconnect()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._threads.close()

    def _run_loop(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()

    async def _execute(self, claim: Claim, lane: Lane) -> None:
        tracing.bind(workspace_id=claim.workspace_id, job_id=claim.job_id)  # in the context of this coroutine's task
        async with ThreadSensitiveContext(executor=self._threads):
            try:
                job = await sync_to_async(Job.objects.get)(id=claim.job_id)
                tracing.bind_request_id(job.request_id)
                async with claim_heartbeat.held(claim) as held:
                    await self._execute_claimed(job, held, lane)
            except ClaimLost:
                log.warning("another process has claimed the job", extra={"fence": claim.fence})
            except (OperationalError, InterfaceError) as error:
                # Nothing can be written now. When the claim has expired, another worker executes the job.
                log.error("the database is not available", exc_info=error)

    async def _execute_claimed(self, job: Job, held: HeldClaim, lane: Lane) -> None:
        """Runs the executor until it is done, the claim is lost, the job is cancelled, or the worker stops."""
        executor = self._executors.get(job.kind, _no_executor)
        working = asyncio.ensure_future(executor(Run(job=job, claim=held.claim, cancelled=held.cancelled)))
        stopping = self._stopping if lane.yields else self._stopping_now
        waits: dict[str, asyncio.Future[Any]] = {
            "done": working,
            "lost": asyncio.create_task(_then_sleep(held.lost.wait())),
            "cancelled": asyncio.create_task(_then_sleep(held.cancelled.wait(), self._cancel_grace)),
            "stopping": asyncio.create_task(_then_sleep(stopping.wait())),
        }
        try:
            await asyncio.wait(waits.values(), return_when=asyncio.FIRST_COMPLETED)
            first = next(name for name, wait in waits.items() if wait.done())
        finally:
            for wait in waits.values():
                wait.cancel()
            await asyncio.gather(*waits.values(), return_exceptions=True)
        if first == "done":
            await sync_to_async(_write_end)(held.claim, _outcome(working, job))
        elif first == "cancelled":
            await sync_to_async(_write_end)(held.claim, Cancelled())
        elif first == "stopping":
            await sync_to_async(claims.give_back)(held.claim)


async def _then_sleep(event: Coroutine[Any, Any, object], seconds: float = 0.0) -> None:
    await event
    await asyncio.sleep(seconds)


async def _no_executor(run: Run) -> Outcome:
    return Failed("INTERNAL_ERROR", f"This installation can't run {run.job.kind} jobs.")


def _outcome(working: asyncio.Future[Outcome], job: Job) -> Outcome:
    """The executor's outcome; a failure when it raised. Raises what concerns the claim or the database."""
    error = working.exception()
    if error is None:
        return working.result()
    if (passed := _first_of(error, (ClaimLost, OperationalError, InterfaceError))) is not None:
        raise passed
    log.error("an executor failed", extra={"kind": job.kind}, exc_info=error)
    return Failed("INTERNAL_ERROR", "Something went wrong on our side. Nothing was charged.")


def _first_of(error: BaseException, kinds: tuple[type[Exception], ...]) -> BaseException | None:
    """The error itself if it is one of `kinds`; the first such error of an exception group."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, (_first_of(inner, kinds) for inner in error.exceptions)), None)
    return error if isinstance(error, kinds) else None


def _write_end(claim: Claim, outcome: Outcome) -> None:
    match outcome:
        case Completed(used, result, page, agent_id):
            completion.complete(claim, used=used, result=result, page=page, agent_id=agent_id)
        case Waiting():
            pass  # the question and the job's state were written together, with the step that asked
        case Failed(code, message, used, page, result, agent_id):
            completion.fail(claim, code=code, message=message, used=used, page=page, result=result, agent_id=agent_id)
        case Cancelled(used):
            completion.end_cancelled(claim, used=used)


@functools.cache
def this_worker() -> Worker:
    """The worker of this process. The first call must come from one thread alone: the cache does not lock."""
    worker = Worker(owner=claims.this_process())
    atexit.register(worker.disconnect)  # Python joins all threads first, so no job runs any more
    return worker
