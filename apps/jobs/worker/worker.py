"""Runs jobs in a worker: one event loop for all of them, and a few threads for the database.

A Celery thread calls `Worker.run` and waits there, so that a worker that is told to stop lets its jobs finish (or
gives them back: see `kinds.Lane.yields`).
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

from apps.agents import page_client as runner
from apps.core import tracing
from apps.core.database_threads import DatabaseThreads
from apps.jobs import selectors
from apps.jobs.kinds import LANE_OF, LANES, Lane
from apps.jobs.models import Job
from apps.jobs.services import claims, completion
from apps.jobs.services.claims import Claim, LeaseLost
from apps.jobs.services.enqueue_job import tell_a_worker
from apps.jobs.worker import claim_heartbeat
from apps.jobs.worker.claim_heartbeat import Lease
from apps.jobs.worker.executor import EXECUTORS, Cancelled, Completed, Executor, Failed, Outcome, Run, Waiting

log = logging.getLogger(__name__)

DATABASE_THREADS = 8
# Executors stop by themselves when a job is cancelled; one that doesn't is stopped.
CANCEL_GRACE_SECONDS = 10.0
DISCONNECT_SECONDS = 5.0


class Worker:
    """The jobs that one process runs. `owner` is the name under which it holds leases."""

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
        self._stopping, self._leaving = asyncio.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._serve, name="jobs-loop", daemon=True)
        self._thread.start()

    def run(self, job_id: uuid.UUID) -> None:
        """Does a job if it is there to be had and the lane has a slot free; else nothing, for then it stays queued."""
        known = selectors.kind_of(job_id=job_id)
        if known is None or self._stopping.is_set():
            return
        lane = LANE_OF[known.kind]
        if not self._slots[lane.queue].acquire(blocking=False):
            return
        try:
            claim = claims.claim(job_id=job_id, owner=self._owner)
            if claim is not None:
                asyncio.run_coroutine_threadsafe(self._do(claim, lane), self._loop).result()
        finally:
            self._slots[lane.queue].release()
        if claim is not None and not self._stopping.is_set():
            _tell_of_the_next(lane)

    def stop(self, *, at_once: bool = False) -> None:
        """From now on nothing is begun, and what can be given back is; `at_once`, everything is."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        if at_once:
            self._loop.call_soon_threadsafe(self._leaving.set)

    def disconnect(self) -> None:
        """Ends the kept connections to the runner; for when no job is in hand. Raises TimeoutError."""
        asyncio.run_coroutine_threadsafe(runner.close(), self._loop).result(DISCONNECT_SECONDS)

    def close(self) -> None:
        """Ends the connections to the runner, the loop and the threads, whatever they do."""
        self.disconnect()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._threads.close()

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()

    async def _do(self, claim: Claim, lane: Lane) -> None:
        tracing.bind(workspace_id=claim.workspace_id, job_id=claim.job_id)  # the task's own context
        async with ThreadSensitiveContext(executor=self._threads):
            try:
                job = await sync_to_async(Job.objects.get)(id=claim.job_id)
                tracing.bind_request_id(await sync_to_async(selectors.request_id)(job_id=job.id))
                async with claim_heartbeat.kept(claim) as lease:
                    await self._execute(job, lease, lane)
            except LeaseLost:
                log.warning("another has taken over", extra={"fence": claim.fence})
            except (OperationalError, InterfaceError) as error:
                # Nothing can be written now. Once the lease has run out another tries.
                log.error("the database is away", exc_info=error)

    async def _execute(self, job: Job, lease: Lease, lane: Lane) -> None:
        executor = self._executors.get(job.kind, _nobody)
        run = Run(job=job, claim=lease.claim, cancelled=lease.cancelled)
        working = asyncio.ensure_future(executor(run))
        ended = await self._first(working, lease, lane)
        if ended == "done":
            await sync_to_async(_write_end)(lease.claim, _outcome(working, job))
        elif ended == "overdue":
            await sync_to_async(_write_end)(lease.claim, Cancelled())
        elif ended == "stopping":
            await sync_to_async(claims.give_back)(lease.claim)

    async def _first(self, working: asyncio.Future[Outcome], lease: Lease, lane: Lane) -> str:
        """What happens first; when it isn't that the work is done, the work has been stopped on return."""
        waits: dict[str, asyncio.Future[Any]] = {
            "done": working,
            "lost": asyncio.create_task(_and_wait(lease.lost.wait())),
            "overdue": asyncio.create_task(_and_wait(lease.cancelled.wait(), self._cancel_grace)),
            "stopping": asyncio.create_task(_and_wait((self._stopping if lane.yields else self._leaving).wait())),
        }
        try:
            await asyncio.wait(waits.values(), return_when=asyncio.FIRST_COMPLETED)
            return next(name for name, wait in waits.items() if wait.done())
        finally:
            for wait in waits.values():
                wait.cancel()
            await asyncio.gather(*waits.values(), return_exceptions=True)


async def _and_wait(happening: Coroutine[Any, Any, object], seconds: float = 0.0) -> None:
    await happening
    await asyncio.sleep(seconds)


async def _nobody(run: Run) -> Outcome:
    return Failed("INTERNAL_ERROR", f"This installation can't run {run.job.kind} jobs.")


def _outcome(working: asyncio.Future[Outcome], job: Job) -> Outcome:
    error = working.exception()
    if error is None:
        return working.result()
    if (not_its_fault := _first_in(error, (LeaseLost, OperationalError, InterfaceError))) is not None:
        raise not_its_fault
    log.error("an executor failed", extra={"kind": job.kind}, exc_info=error)
    return Failed("INTERNAL_ERROR", "Something went wrong on our side. Nothing was charged.")


def _first_in(error: BaseException, kinds: tuple[type[Exception], ...]) -> BaseException | None:
    """The error itself if it is one of `kinds`, or the first such of a TaskGroup's."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, (_first_in(inner, kinds) for inner in error.exceptions)), None)
    return error if isinstance(error, kinds) else None


def _write_end(claim: Claim, outcome: Outcome) -> None:
    match outcome:
        case Completed(used, result, page):
            completion.complete(claim, used=used, result=result, page=page)
        case Waiting():
            pass  # the question and the job's state were written together, with the step that asked
        case Failed(code, message, used, page, result):
            completion.fail(claim, code=code, message=message, used=used, page=page, result=result)
        case Cancelled(used):
            completion.end_cancelled(claim, used=used)


def _tell_of_the_next(lane: Lane) -> None:
    job_id = selectors.next_waiting(lane=lane)
    if job_id is not None:
        tell_a_worker(job_id=job_id, kind=lane.kinds[0])


@functools.cache
def this_worker() -> Worker:
    """The one of this process. Threads that ask first at once would make several: let one ask before."""
    worker = Worker(owner=claims.this_process())
    atexit.register(worker.disconnect)  # Python waits for all threads before, so for whatever jobs are in hand
    return worker
