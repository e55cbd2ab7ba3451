"""Threads that keep their database connections, and the one worker of a process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from apps.jobs import running
from browsa.threads import DatabaseThreads
from tests.patience import PATIENCE


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

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)", [list(backends)])
        while cursor.fetchone()[0]:  # a backend takes a moment to notice
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)", [list(backends)])


def test_closing_when_python_is_about_to_end_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.fixture
def no_worker_yet() -> Iterator[None]:
    running._only_worker.cache_clear()
    yield
    running._only_worker.cache_clear()


def test_threads_that_ask_first_at_once_get_one_worker(monkeypatch: pytest.MonkeyPatch, no_worker_yet: None) -> None:
    asked, made = threading.Barrier(4), []

    class Slow:
        def __init__(self, *, owner: str) -> None:
            made.append(owner)
            threading.Event().wait(0.1)  # the others ask meanwhile

        def disconnect(self) -> None:
            """Python ends."""

    monkeypatch.setattr(running, "Worker", Slow)

    def ask(_: int) -> object:
        asked.wait(PATIENCE)
        return running.this_worker()

    with ThreadPoolExecutor(4) as threads:
        workers = set(threads.map(ask, range(4)))

    assert len(workers) == len(made) == 1
