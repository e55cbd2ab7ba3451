"""Threads that keep their database connections."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextvars import ContextVar

import pytest
from django.db import connection

from apps.core.database_threads import DatabaseThreads
from tests.patience import PATIENCE, until


@pytest.fixture
def threads() -> Iterator[DatabaseThreads]:
    threads = DatabaseThreads(3, "tested")
    yield threads
    threads.close()


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


def test_calls_one_after_another_share_one_thread(threads: DatabaseThreads) -> None:
    together = threading.Barrier(3)
    for one in [threads.submit(together.wait, PATIENCE) for _ in range(3)]:
        one.result(PATIENCE)

    names = {threads.submit(lambda: threading.current_thread().name).result(PATIENCE) for _ in range(50)}

    assert len(names) == 1, "all three are idle, and the last one to become so is taken"


def test_work_waits_for_a_free_thread_in_its_order(threads: DatabaseThreads) -> None:
    busy, release, done = threading.Barrier(4), threading.Event(), list[int]()

    def block() -> None:
        busy.wait(PATIENCE)
        release.wait(PATIENCE)

    blocking = [threads.submit(block) for _ in range(3)]
    busy.wait(PATIENCE)
    waiting = [threads.submit(done.append, number) for number in range(20)]
    assert not done

    first, *others = waiting
    release.set()
    for one in [first, *others, *blocking]:
        one.result(PATIENCE)

    assert sorted(done) == list(range(20))
    assert done[0] in range(3), "the first three are taken first"


def test_closing_finishes_what_was_submitted() -> None:
    threads, done = DatabaseThreads(1, "closing"), list[int]()
    for number in range(20):
        threads.submit(done.append, number)

    threads.close()

    assert done == list(range(20))
    with pytest.raises(RuntimeError):
        threads.submit(done.append, 20)


async def test_a_coroutine_gets_the_result_or_the_error(threads: DatabaseThreads) -> None:
    place: ContextVar[str] = ContextVar("place")
    place.set("caller")

    def work(fails: bool) -> str:
        if fails:
            raise LookupError("of the work")
        seen = place.get()
        place.set("thread")
        return seen

    assert await threads.run(work, False) == "caller"
    with pytest.raises(LookupError, match="of the work"):
        await threads.run(work, True)
    assert place.get() == "caller", "the work has a copy of the context"


async def test_work_of_a_cancelled_coroutine_does_not_begin(threads: DatabaseThreads) -> None:
    busy, release, done = threading.Barrier(4), threading.Event(), list[str]()

    def block() -> None:
        busy.wait(PATIENCE)
        release.wait(PATIENCE)

    blocking = [asyncio.create_task(threads.run(block)) for _ in range(3)]
    await asyncio.to_thread(busy.wait, PATIENCE)
    waiting = asyncio.create_task(threads.run(done.append, "cancelled"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    blocking[0].cancel()

    release.set()
    await asyncio.gather(*blocking, return_exceptions=True)
    await threads.run(done.append, "next")

    assert done == ["next"]


async def test_a_result_for_a_loop_that_has_ended_is_dropped(threads: DatabaseThreads) -> None:
    begun, release = threading.Event(), threading.Event()

    def block() -> None:
        begun.set()
        release.wait(PATIENCE)

    async def leave() -> None:
        asyncio.ensure_future(threads.run(block))  # noqa: RUF006  it is cancelled with its loop
        await asyncio.sleep(0)
        begun.wait(PATIENCE)

    await asyncio.to_thread(asyncio.run, leave())
    release.set()

    assert await threads.run(lambda: "works") == "works"
