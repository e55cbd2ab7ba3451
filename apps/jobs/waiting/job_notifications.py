"""Wakes coroutines that wait for a job when the job's row changes.

Each commit that appends an event to a job publishes the job's id on Redis. In each event loop one `JobNotifications`
subscribes to that channel. It reads the heads of the published jobs from PostgreSQL, in one query for all waiting
coroutines, and once a second the heads of all jobs that are waited for. So without Redis a change is seen one second
later, and a thousand waiting coroutines cost as much as one.
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
from apps.jobs.selectors import JobHead
from apps.jobs.services.event_log import CHANNEL

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
# Messages that arrive within this time are answered by one query.
_GATHER_SECONDS = 0.01
_SUBSCRIBE_SECONDS = 0.5


class Subscription:
    """One waiting coroutine's view of a job. `head` is None until the first read."""

    def __init__(self) -> None:
        self.head: JobHead | None = None
        self._changed = asyncio.Event()

    def update(self, head: JobHead) -> None:
        if head != self.head:
            self.head = head
            self._changed.set()

    async def changed(self, seconds: float) -> bool:
        """Waits until the head has changed since the last call. False when it did not change within `seconds`."""
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True


@asynccontextmanager
async def subscribed(job_id: uuid.UUID) -> AsyncIterator[Subscription]:
    """A Subscription that sees every commit from now on."""
    loop = asyncio.get_running_loop()
    notifications = _of_loop.get(loop)
    if notifications is None:
        notifications = _of_loop[loop] = JobNotifications()
    async with notifications.subscribed(job_id) as subscription:
        yield subscription


class JobNotifications:
    """All subscriptions of one event loop."""

    def __init__(self) -> None:
        self._subscriptions: dict[uuid.UUID, set[Subscription]] = {}
        self._to_read: set[uuid.UUID] = set()
        self._wake = asyncio.Event()
        self._listening = asyncio.Event()
        self._threads = DatabaseThreads(1, "job-heads")
        # An empty context: the tasks outlive the request that happens to create them, and must not log its id.
        loop, empty = asyncio.get_running_loop(), contextvars.Context()
        listen = hints.listen(CHANNEL, self._receive, subscribed=self._listening)
        self._tasks = [loop.create_task(work, context=empty) for work in (listen, self._keep_reading())]

    @asynccontextmanager
    async def subscribed(self, job_id: uuid.UUID) -> AsyncIterator[Subscription]:
        subscription = Subscription()
        self._subscriptions.setdefault(job_id, set()).add(subscription)
        try:
            if not self._listening.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(_SUBSCRIBE_SECONDS):
                        await self._listening.wait()
            self._request_read(job_id)
            yield subscription
        finally:
            self._subscriptions[job_id].discard(subscription)
            if not self._subscriptions[job_id]:
                del self._subscriptions[job_id]

    def _request_read(self, job_id: uuid.UUID) -> None:
        self._to_read.add(job_id)
        self._wake.set()

    def _receive(self, message: bytes) -> None:
        with suppress(ValueError):
            job_id = uuid.UUID(message.decode("ascii", "replace"))
            if job_id in self._subscriptions:
                self._request_read(job_id)

    async def _keep_reading(self) -> None:
        try:
            while True:
                job_ids = await self._next_to_read()
                if not job_ids:
                    continue
                try:
                    heads = await self._threads.run(functools.partial(selectors.heads, job_ids=job_ids))
                except Error as error:
                    log.warning("the heads of jobs can't be read", extra={"cause": type(error).__name__})
                    continue
                for job_id, head in heads.items():
                    for subscription in self._subscriptions.get(job_id, ()):
                        subscription.update(head)
        finally:
            self._threads.close()

    async def _next_to_read(self) -> list[uuid.UUID]:
        """The jobs that were published; all that are waited for after a second without a message."""
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            return list(self._subscriptions)
        await asyncio.sleep(_GATHER_SECONDS)
        self._wake.clear()
        job_ids, self._to_read = self._to_read, set()
        return list(job_ids)


_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, JobNotifications] = WeakKeyDictionary()
