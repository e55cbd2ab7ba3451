"""Threads for synchronous code that keep their database connections, and notice when one has died."""

from __future__ import annotations

import asyncio
import contextvars
import select
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

P = ParamSpec("P")
T = TypeVar("T")

# Executes a piece of work, and returns a function that passes the result on.
Work = Callable[[], Callable[[], object]]


class DatabaseThreads(Executor):
    """A bounded pool. Before each piece of work its thread drops a connection that can't be used any more, so that a
    restarted database heals by itself.

    The thread that became idle last gets the next piece: few threads and few connections work, and those are warm.
    That, and no locks of `concurrent.futures` for a coroutine that waits, is why this is not a ThreadPoolExecutor: at
    eight connections an API process answers a fifth more reads per second.
    """

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._lock = threading.Lock()  # for all below
        self._threads: list[threading.Thread] = []
        self._idle: list[SimpleQueue[Work | None]] = []  # the inboxes of idle threads
        self._waiting: deque[Work] = deque()
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Raises RuntimeError after `close`."""
        future: Future[T] = Future()

        def work() -> Callable[[], object]:
            if not future.set_running_or_notify_cancel():
                return lambda: None
            try:
                drop_dead_connections()
                return partial(future.set_result, fn(*args, **kwargs))
            except BaseException as error:
                return partial(future.set_exception, error)

        self._enqueue(work)
        return future

    async def run(self, fn: Callable[..., T], *args: object) -> T:
        """`fn(*args)` on a thread, in a copy of the caller's context. Raises RuntimeError after `close`."""
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        answer: asyncio.Future[T] = loop.create_future()

        def work() -> Callable[[], object]:
            if answer.cancelled():
                return lambda: None
            try:
                drop_dead_connections()
                return partial(_tell, loop, answer, answer.set_result, context.run(fn, *args))
            except BaseException as error:
                return partial(_tell, loop, answer, answer.set_exception, error)

        self._enqueue(work)
        return await answer

    def close(self) -> None:
        """Waits for the work that was submitted, then ends the threads, each of which closes its connections."""
        with self._lock:
            self._closed = True
            for inbox in self._idle:
                inbox.put(None)
            self._idle.clear()
        for thread in self._threads:
            thread.join()

    def _enqueue(self, work: Work) -> None:
        with self._lock:
            if self._closed:
                raise RuntimeError("the threads are closed")
            if self._idle:
                self._idle.pop().put(work)
            elif len(self._threads) < self._size:
                inbox: SimpleQueue[Work | None] = SimpleQueue()
                inbox.put(work)
                name = f"{self._name}_{len(self._threads)}"
                thread = threading.Thread(target=self._work_from, args=(inbox,), name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
            else:
                self._waiting.append(work)

    def _work_from(self, inbox: SimpleQueue[Work | None]) -> None:
        while (work := inbox.get()) is not None:
            pass_on = work()
            with self._lock:
                if self._waiting:
                    inbox.put(self._waiting.popleft())
                elif self._closed:
                    inbox.put(None)
                else:
                    self._idle.append(inbox)  # before the result is passed on: its receiver may have more work
            pass_on()
            del work, pass_on  # an idle thread keeps no result alive
        connections.close_all()


def _tell(
    loop: asyncio.AbstractEventLoop, answer: asyncio.Future[T], settle: Callable[[Any], None], value: object
) -> None:
    if not loop.is_closed():  # else the coroutine has ended too
        loop.call_soon_threadsafe(_settle, answer, settle, value)


def _settle(answer: asyncio.Future[T], settle: Callable[[Any], None], value: object) -> None:
    if not answer.done():  # else its coroutine was cancelled
        settle(value)


def drop_dead_connections() -> None:
    for connection in connections.all(initialized_only=True):
        if connection.connection is None:
            continue
        if connection.errors_occurred or connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
        elif _hung_up(connection):
            connection.close()


def _hung_up(connection: BaseDatabaseWrapper) -> bool:
    """An idle connection has nothing to read, unless the server ended it.

    This asks the kernel (2 µs) and not the server: CONN_HEALTH_CHECKS would add a round trip to every request.
    """
    poll = select.poll()
    poll.register(connection.connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
