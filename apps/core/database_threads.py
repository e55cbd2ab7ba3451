"""Threads for synchronous code that keep their database connections, and notice when one has died."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

P = ParamSpec("P")
T = TypeVar("T")


class DatabaseThreads(ThreadPoolExecutor):
    """A bounded pool. Before each piece of work its thread drops a connection that can't be used any more, so that a
    restarted database heals by itself.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        def work() -> T:
            drop_dead_connections()
            return fn(*args, **kwargs)

        return super().submit(work)

    def close(self) -> None:
        """Waits for the work at hand, then ends the threads, each of which closes its connections first."""
        everybody = threading.Barrier(self._max_workers)

        def leave() -> None:
            everybody.wait()  # so that no thread does this twice, and each once
            connections.close_all()

        try:
            for _ in range(self._max_workers):
                super().submit(leave)  # nothing may come before it: all would wait for one that fails
        except RuntimeError:  # Python is about to end, and all connections with it
            everybody.abort()
        self.shutdown()


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
