"""Threads that keep their database connections."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from apps.core.database_threads import DatabaseThreads
from tests.patience import PATIENCE, until


@pytest.mark.django_db(transaction=True)
def test_closing_ends_the_connection_of_every_thread() -> None:
    threads = DatabaseThreads(3, "closing")
    together = threading.Barrier(3)

    def backend() -> int:
        together.wait(PATIENCE)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return int(cursor.fetchone()[0])

    backends = {one.result(PATIENCE) for one in [threads.submit(backend) for _ in range(3)]}
    assert len(backends) == 3
    threads.close()

    def alive() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)", [list(backends)])
            return int(cursor.fetchone()[0])

    until(lambda: not alive(), what="the end of their connections")  # a backend takes a moment to notice


def test_closing_while_python_exits_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes no more work then, and may begin to refuse between two pieces of it."""
    threads = DatabaseThreads(3, "late")
    accept, taken = ThreadPoolExecutor.submit, []

    def submit(self: ThreadPoolExecutor, work: object) -> object:
        if taken:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        taken.append(accept(self, work))  # type: ignore[arg-type]
        return taken[0]

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
    closing = threading.Thread(target=threads.close, daemon=True)
    closing.start()
    closing.join(PATIENCE)

    assert not closing.is_alive()
    assert isinstance(taken[0].exception(PATIENCE), threading.BrokenBarrierError)
