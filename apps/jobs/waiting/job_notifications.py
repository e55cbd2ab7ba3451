"""Who waits for a job learns that something happened to it.

Each commit that appends an event to a job publishes its id on Redis. In each event loop one `Board` listens, and reads
from Postgres, for all who wait and in one query, the heads of the jobs that were named; and once a second those of all
jobs that are waited for. So without Redis news comes a second later, and a thousand who wait cost as much as one.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from weakref import WeakKeyDictionary

from django.db import Error

from apps.core import hints
from apps.core.database_threads import DatabaseThreads
from apps.jobs import selectors
from apps.jobs.selectors import Head
from apps.jobs.services.event_log import CHANNEL

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
# Hints that come together are looked up together.
_GATHER_SECONDS = 0.01
_SUBSCRIBE_PATIENCE = 0.5


class Watch:
    """One who waits. `head` is the newest that is known of the job; None until the first look."""

    def __init__(self) -> None:
        self.head: Head | None = None
        self._news = asyncio.Event()

    def tell(self, head: Head) -> None:
        if head != self.head:
            self.head = head
            self._news.set()

    async def news(self, seconds: float) -> bool:
        """Waits until the head has changed since the last call. False when nothing changed in `seconds`."""
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True


@asynccontextmanager
async def watching(job_id: uuid.UUID) -> AsyncIterator[Watch]:
    """A Watch that misses nothing that is committed from now on."""
    loop = asyncio.get_running_loop()
    board = _boards.get(loop)
    if board is None:
        board = _boards[loop] = Board()
    async with board.watching(job_id) as watch:
        yield watch


class Board:
    """All who wait in one event loop."""

    def __init__(self) -> None:
        self._watches: dict[uuid.UUID, set[Watch]] = {}
        self._named: set[uuid.UUID] = set()
        self._wake = asyncio.Event()
        self._subscribed = asyncio.Event()
        self._threads = DatabaseThreads(1, "job-heads")
        # Without the context of whoever happens to be the first: its request id is not theirs.
        nothing = contextvars.Context()
        loop = asyncio.get_running_loop()
        listening = hints.listen(CHANNEL, self._hear, subscribed=self._subscribed)
        self._tasks = [loop.create_task(work, context=nothing) for work in (listening, self._look())]

    @asynccontextmanager
    async def watching(self, job_id: uuid.UUID) -> AsyncIterator[Watch]:
        watch = Watch()
        self._watches.setdefault(job_id, set()).add(watch)
        try:
            if not self._subscribed.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(_SUBSCRIBE_PATIENCE):
                        await self._subscribed.wait()
            self._name(job_id)
            yield watch
        finally:
            self._watches[job_id].discard(watch)
            if not self._watches[job_id]:
                del self._watches[job_id]

    def _name(self, job_id: uuid.UUID) -> None:
        self._named.add(job_id)
        self._wake.set()

    def _hear(self, message: bytes) -> None:
        with suppress(ValueError):
            job_id = uuid.UUID(message.decode("ascii", "replace"))
            if job_id in self._watches:
                self._name(job_id)

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                named = await self._next()
                look = functools.partial(selectors.heads, job_ids=named)
                try:
                    self._tell(await loop.run_in_executor(self._threads, look) if named else {})
                except Error as error:
                    log.warning("the heads of jobs can't be read", extra={"cause": type(error).__name__})
        finally:
            self._threads.close()

    async def _next(self) -> list[uuid.UUID]:
        """The jobs to look at: those that were named, after a second of silence all."""
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            return list(self._watches)
        await asyncio.sleep(_GATHER_SECONDS)
        self._wake.clear()
        named, self._named = self._named, set()
        return list(named)

    def _tell(self, heads: dict[uuid.UUID, Head]) -> None:
        for job_id, head in heads.items():
            for watch in self._watches.get(job_id, ()):
                watch.tell(head)


_boards: WeakKeyDictionary[asyncio.AbstractEventLoop, Board] = WeakKeyDictionary()
