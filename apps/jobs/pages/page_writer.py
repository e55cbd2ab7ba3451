"""What the executors of pages share: loading a page with retries, writing rows, and the slots of a workspace."""

from __future__ import annotations

import asyncio
import weakref
from weakref import WeakValueDictionary

from asgiref.sync import sync_to_async
from django.conf import settings

from apps.agents.control_client import RunnerAway, RunnerBusy
from apps.jobs.kinds import Kind
from apps.jobs.pages import services
from apps.jobs.pages.loading import Loaded, PageFailed, PageJob, load
from apps.jobs.pages.services import Row
from apps.jobs.selectors import as_kind
from apps.jobs.worker.executor import Run
from apps.jobs.worker.retry import retried


def page_job(run: Run) -> PageJob:
    kind: Kind = as_kind(run.job.kind)
    return PageJob(run.job.id, run.job.workspace_id, kind, run.params, run.job.page_credits)


def is_passing(error: Exception) -> bool:
    """Whether a page failed only because its runner is away or has no free slot: worth another attempt."""
    return isinstance(error.error if isinstance(error, PageFailed) else error, RunnerAway | RunnerBusy)


async def load_patiently(job: PageJob, url: str, *, position: int = 0) -> Loaded:
    """Raises PageFailed."""
    return await retried(lambda: load(job, url, position=position), passing=is_passing)


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
            self._writing = asyncio.ensure_future(sync_to_async(services.store)(self._run.claim, rows))
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
