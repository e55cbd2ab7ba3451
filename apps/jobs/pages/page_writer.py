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
    """Whether a page failed only because the runner is not reachable or has no free slot: worth another attempt."""
    return isinstance(error.error if isinstance(error, PageFailed) else error, RunnerAway | RunnerBusy)


async def load_patiently(job: PageJob, url: str, *, position: int = 0) -> Loaded:
    """Raises PageFailed."""
    return await retried(lambda: load(job, url, position=position), passing=is_passing)


class PageWriter:
    """Stores rows as they arrive. Rows that arrive during a transaction are written together by the next one."""

    def __init__(self, run: Run, *, size: int) -> None:
        """`size`: the size of the job's stored rows in bytes."""
        self._run = run
        self._lock = asyncio.Lock()
        self._pending: list[Row] = []
        self._writing: asyncio.Future[int] | None = None
        self.size = size

    async def put(self, row: Row) -> None:
        """Returns when `row` is stored. Raises ClaimLost."""
        self._pending.append(row)
        async with self._lock:
            await self._write()

    async def flush(self) -> None:
        """Stores the rows of callers that were cancelled while they waited in `put`."""
        if self._writing is not None:
            await asyncio.wait({self._writing})
        await self._write()

    async def _write(self) -> None:
        rows, self._pending = self._pending, []
        if rows:
            self._writing = asyncio.ensure_future(sync_to_async(services.store)(self._run.claim, rows))
            self._writing.add_done_callback(_retrieve_error)
            self.size += await asyncio.shield(self._writing)


def _retrieve_error(writing: asyncio.Future[int]) -> None:
    """Marks its error as retrieved: when the claim is lost, no caller may be left that awaits it."""
    if not writing.cancelled():
        writing.exception()


_slots: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[str, asyncio.Semaphore]]
_slots = weakref.WeakKeyDictionary()


def slots(run: Run) -> asyncio.Semaphore:
    """Limits the pages that a workspace loads at once, over all its jobs in this process."""
    ours = _slots.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
    key = str(run.job.workspace_id)
    semaphore = ours.get(key)
    if semaphore is None:
        semaphore = ours[key] = asyncio.Semaphore(settings.PAGES_PER_WORKSPACE)
    return semaphore
