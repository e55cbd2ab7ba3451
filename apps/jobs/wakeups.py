"""Who waits for a job learns that something happened to it.

Each commit that appends an event publishes the job's id on Redis. In each event loop one `Board` listens, and reads
from Postgres, for all who wait and in one query, the heads of the jobs that were named; and once a second those of all
jobs that are waited for. So without Redis news comes a second later, and a thousand who wait cost as much as one.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from django.conf import settings
from django.db import Error, transaction
from redis.backoff import NoBackoff
from redis.retry import Retry

from apps.jobs import selectors
from apps.jobs.selectors import Head
from browsa.threads import DatabaseThreads

log = logging.getLogger(__name__)

CHANNEL = "browsa:jobs"
POLL_SECONDS = 1.0
# Hints that come together are looked up together.
_GATHER_SECONDS = 0.01
_SUBSCRIBE_PATIENCE = 0.5
_RECONNECT_SECONDS = 1.0
# While Redis is away, not every commit waits for it.
_MUTE_SECONDS = 1.0


def publish_on_commit(job_id: uuid.UUID) -> None:
    transaction.on_commit(lambda: _publisher().publish(job_id))


class _Publisher:
    def __init__(self) -> None:
        self._redis = redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 1)
        )
        self._muted_until = 0.0

    def publish(self, job_id: uuid.UUID) -> None:
        if time.monotonic() < self._muted_until:
            return
        try:
            self._redis.publish(CHANNEL, str(job_id))
        except (redis.RedisError, OSError) as error:
            self._muted_until = time.monotonic() + _MUTE_SECONDS
            log.warning("no hint was published, who waits will poll", extra={"cause": str(error)})


@functools.cache
def _publisher() -> _Publisher:
    return _Publisher()


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
        self._tasks = [loop.create_task(work(), context=nothing) for work in (self._listen, self._look)]

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

    async def _listen(self) -> None:
        while True:
            try:
                async with redis.asyncio.Redis.from_url(settings.REDIS_URL) as client, client.pubsub() as hints:
                    await hints.subscribe(CHANNEL)
                    _end_if_cancelled()
                    self._subscribed.set()
                    async for message in hints.listen():
                        self._hear(message)
            except (redis.RedisError, OSError) as error:
                log.warning("no hints from Redis, polling", extra={"cause": str(error)})
            self._subscribed.clear()
            await asyncio.sleep(_RECONNECT_SECONDS)

    def _hear(self, message: dict[str, object]) -> None:
        data = message["data"]
        if message["type"] != "message" or not isinstance(data, bytes):
            return
        with suppress(ValueError):
            job_id = uuid.UUID(data.decode("ascii", "replace"))
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


def _end_if_cancelled() -> None:
    """The Redis library writes with `asyncio.wait_for`, which in Python 3.11 swallows a cancellation that comes as the
    write ends; a task that then listened on would never end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


_boards: WeakKeyDictionary[asyncio.AbstractEventLoop, Board] = WeakKeyDictionary()
