"""What the executors share: stopping when the job is cancelled, trying again when the runner is away, writing rows."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from asgiref.sync import sync_to_async
from django.conf import settings

from apps.agents.pages import NoPlace, RunnerAway
from apps.jobs.execution import Run
from apps.jobs.kinds import Kind
from apps.jobs.pages import Loaded, PageFailed, PageJob, load
from apps.jobs.selectors import as_kind
from apps.jobs.services import quick
from apps.jobs.services.quick import Row

T = TypeVar("T")

# A runner, or a Redis, that restarts is back within seconds; after these pauses what needs it has failed.
RETRY_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0)


def page_job(run: Run) -> PageJob:
    kind: Kind = as_kind(run.job.kind)
    return PageJob(run.job.id, run.job.workspace_id, kind, run.params, run.job.page_credits)


def _nobody_to_try(error: Exception) -> bool:
    return isinstance(error.error if isinstance(error, PageFailed) else error, RunnerAway | NoPlace)


async def patiently(attempt: Callable[[], Awaitable[T]], *, passing: Callable[[Exception], bool] = _nobody_to_try) -> T:
    """Tries again while what it raises is `passing`. What it raises at last is the last attempt's."""
    for pause in RETRY_SECONDS:
        try:
            return await attempt()
        except Exception as error:
            if not passing(error):
                raise
        await asyncio.sleep(pause)
    return await attempt()


async def load_patiently(job: PageJob, url: str, *, position: int = 0) -> Loaded:
    """Raises PageFailed."""
    return await patiently(lambda: load(job, url, position=position))


async def unless_cancelled(run: Run, work: Coroutine[Any, Any, T]) -> T | None:
    """What `work` returns; None when the job was cancelled first, and `work` with it. What it raises passes through,
    out of the group that a TaskGroup makes of it.
    """
    working = asyncio.ensure_future(work)
    cancelling = asyncio.ensure_future(run.cancelled.wait())
    try:
        await asyncio.wait({working, cancelling}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    except BaseExceptionGroup as group:
        raise _first(group) from group
    finally:
        working.cancel()
        cancelling.cancel()
        await asyncio.gather(working, cancelling, return_exceptions=True)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class Writer:
    """Writes rows as they come. Those that come while others are written go together into the next transaction."""

    def __init__(self, run: Run, *, size: int) -> None:
        """`size`: bytes that the job's rows have already."""
        self._run = run
        self._lock = asyncio.Lock()
        self._pending: list[Row] = []
        self._writing: asyncio.Future[int] | None = None
        self.size = size

    async def put(self, row: Row) -> None:
        """Returns when `row` is written. Raises LeaseLost."""
        self._pending.append(row)
        async with self._lock:
            await self._write()

    async def flush(self) -> None:
        """Writes what was put by those who have been cancelled meanwhile."""
        if self._writing is not None:
            await asyncio.wait({self._writing})
        await self._write()

    async def _write(self) -> None:
        rows, self._pending = self._pending, []
        if rows:
            self._writing = asyncio.ensure_future(sync_to_async(quick.store)(self._run.claim, rows))
            self._writing.add_done_callback(_heard)
            self.size += await asyncio.shield(self._writing)


def _heard(writing: asyncio.Future[int]) -> None:
    """Nobody may be left who waits for it, when the job has been taken away meanwhile."""
    if not writing.cancelled():
        writing.exception()


_slots: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[str, asyncio.Semaphore]]
_slots = weakref.WeakKeyDictionary()


def slots(run: Run) -> asyncio.Semaphore:
    """So many pages does a workspace load at once, all its jobs in this process together."""
    ours = _slots.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
    key = str(run.job.workspace_id)
    semaphore = ours.get(key)
    if semaphore is None:
        semaphore = ours[key] = asyncio.Semaphore(settings.PAGES_PER_WORKSPACE)
    return semaphore
