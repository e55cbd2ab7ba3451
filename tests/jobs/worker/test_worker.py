"""A worker that runs jobs: executors of every temper."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from django.db import OperationalError, connections

from apps.jobs.kinds import BATCHES, DEFAULT
from apps.jobs.models import Job
from apps.jobs.services import claims, completion, event_log
from apps.jobs.worker.executor import Cancelled, Completed, Executor, Failed, Outcome, Run
from apps.jobs.worker.worker import Worker
from tests.cast import Member, join
from tests.jobs.making import (
    add_pages,
    after_the_claim,
    claimed,
    make_job,
    page,
    reread,
    seconds_to_cancel,
    story,
)
from tests.patience import PATIENCE, keeps_to, until

pytestmark = pytest.mark.django_db(transaction=True)

Hire = Callable[..., Worker]


@pytest.fixture
def carol(transactional_db: None) -> Member:
    return join("carol")


@pytest.fixture
def hire(transactional_db: None) -> Iterator[Hire]:
    hired: list[Worker] = []

    def make(executor: Executor, **fields: Any) -> Worker:
        executors = dict.fromkeys(("batch", "scrape", "crawl"), executor)
        hired.append(Worker(owner=f"worker {len(hired)}", executors=executors, **fields))
        return hired[-1]

    yield make
    for worker in hired:
        worker.close()


@pytest.fixture
def aside() -> Iterator[ThreadPoolExecutor]:
    """Threads as Celery has them."""
    threads = ThreadPoolExecutor(4)
    yield threads
    barrier = threading.Barrier(4)

    def leave() -> None:
        barrier.wait()
        connections.close_all()

    for _ in range(4):
        threads.submit(leave)
    threads.shutdown()


class Reader:
    """Records the pages that are missing, and waits where it is told to."""

    def __init__(self, *, stop_at: int = -1) -> None:
        self.stop_at = stop_at
        self.reached = threading.Event()
        self.read: list[int] = []

    async def __call__(self, run: Run) -> Outcome:
        done = await run.positions_done()
        for position in range(3):
            if position == self.stop_at:
                self.reached.set()
                await run.cancelled.wait()
                return Cancelled()
            if position not in done:
                self.read.append(position)
                await run.record_page(page(position))
        return Completed()


def test_a_job_is_done_and_paid(carol: Member, hire: Hire) -> None:
    job = make_job(carol)

    hire(Reader()).run(job.id)

    assert (reread(job).status, reread(job).progress_done, carol.credits()) == ("completed", 3, (97, 0))
    assert story(job) == ["queued", "started", "page", "page", "page", "completed"]


def test_what_is_done_or_unknown_is_left_alone(carol: Member, hire: Hire) -> None:
    job, reader = make_job(carol), Reader()
    worker = hire(reader)
    worker.run(job.id)
    worker.run(job.id)
    worker.run(uuid.uuid4())

    assert reader.read == [0, 1, 2]


def test_a_worker_goes_on_where_another_stopped(carol: Member, hire: Hire) -> None:
    job = make_job(carol)
    dead = claimed(job, "dead")
    claims.heartbeat(dead)
    add_pages(dead, 1)
    claims.give_back(dead)

    reader = Reader()
    hire(reader).run(job.id)

    assert reader.read == [0, 2]
    assert carol.credits() == (97, 0)


def test_a_cancel_is_heard_within_a_second(carol: Member, hire: Hire, aside: ThreadPoolExecutor) -> None:
    def cancelled() -> float:
        credits, _ = carol.credits()
        job, reader = make_job(carol), Reader(stop_at=2)
        running = aside.submit(hire(reader).run, job.id)
        assert reader.reached.wait(PATIENCE)

        completion.cancel(workspace_id=carol.workspace.id, job_id=job.id)
        running.result(PATIENCE)

        assert (reread(job).status, carol.credits()) == ("cancelled", (credits - 2, 0))
        return seconds_to_cancel(job)

    keeps_to(2, cancelled)


def test_a_cancel_is_heard_without_redis_too(
    carol: Member, hire: Hire, aside: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log.hints, "publish_on_commit", lambda channel, message: None)

    def cancelled() -> float:
        job, reader = make_job(carol), Reader(stop_at=0)
        running = aside.submit(hire(reader).run, job.id)
        assert reader.reached.wait(PATIENCE)

        completion.cancel(workspace_id=carol.workspace.id, job_id=job.id)
        running.result(PATIENCE)

        assert reread(job).status == "cancelled"
        return seconds_to_cancel(job)

    keeps_to(3, cancelled)


async def _deaf(run: Run) -> Outcome:
    await asyncio.Event().wait()
    raise AssertionError("it is never set")


def test_an_executor_that_is_deaf_is_stopped(carol: Member, hire: Hire, aside: ThreadPoolExecutor) -> None:
    job = make_job(carol)
    worker = hire(_deaf, cancel_grace=0.0)
    running = aside.submit(worker.run, job.id)
    until(lambda: reread(job).status == "running")

    completion.cancel(workspace_id=carol.workspace.id, job_id=job.id)
    running.result(PATIENCE)

    assert reread(job).status == "cancelled"


def test_an_executor_that_raises_fails_the_job_for_free(
    carol: Member, hire: Hire, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(run: Run) -> Outcome:
        await run.record_page(page(0))
        raise ZeroDivisionError("details for the log")

    job = make_job(carol)
    hire(broken).run(job.id)

    row = reread(job)
    assert (row.status, row.error_code, row.credits_charged) == ("failed", "INTERNAL_ERROR", 0)
    assert "details" not in row.error_message
    assert "an executor failed" in caplog.text
    assert carol.credits() == (100, 0)


@pytest.mark.parametrize("kind", ["screenshot", "batch"])
def test_failures_are_written_as_they_come(carol: Member, hire: Hire, kind: Any) -> None:
    async def fails(run: Run) -> Outcome:
        return Failed("TIMEOUT", "too slow")

    job = make_job(carol, kind)
    hire(fails).run(job.id)

    assert reread(job).error_code == ("TIMEOUT" if kind == "batch" else "INTERNAL_ERROR")


async def _cut_off(run: Run) -> Outcome:
    raise OperationalError("gone")


async def _cut_off_in_a_group(run: Run) -> Outcome:
    async with asyncio.TaskGroup() as group:
        group.create_task(_cut_off(run))
    raise AssertionError("the group raises")


@pytest.mark.parametrize("executor", [_cut_off, _cut_off_in_a_group])
def test_while_the_database_is_away_nothing_is_decided(carol: Member, hire: Hire, executor: Executor) -> None:
    job = make_job(carol)
    hire(executor).run(job.id)

    assert story(job) == ["queued", "started"]


def test_a_worker_that_lost_its_claim_stops_and_writes_nothing(
    carol: Member, hire: Hire, aside: ThreadPoolExecutor, short_claims: None
) -> None:
    stopped, reached = threading.Event(), threading.Event()

    async def slow(run: Run) -> Outcome:
        reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError("it is never set")

    job = make_job(carol)
    running = aside.submit(hire(slow).run, job.id)
    assert reached.wait(PATIENCE)
    claimed(job, "another", at=after_the_claim())

    running.result(PATIENCE)

    assert stopped.is_set()
    assert story(job) == ["queued", "started", "requeued", "started"]
    assert reread(job).owner == "another"


def test_a_long_job_keeps_its_claim(carol: Member, hire: Hire, short_claims: None) -> None:
    claim_ends: list[Any] = []

    async def slow(run: Run) -> Outcome:
        while len(set(claim_ends)) < 4:
            claim_ends.append(await asyncio.to_thread(_claim_end, run.job))
        return Completed()

    job = make_job(carol)
    hire(slow).run(job.id)

    assert reread(job).status == "completed"


def _claim_end(job: Job) -> Any:
    try:
        return reread(job).claim_until
    finally:
        connections.close_all()


def test_a_worker_that_stops_gives_back_what_is_long_and_finishes_what_is_short(
    carol: Member, hire: Hire, aside: ThreadPoolExecutor
) -> None:
    go_on, begun = asyncio.Event(), threading.Barrier(3)

    async def executor(run: Run) -> Outcome:
        await asyncio.to_thread(begun.wait, PATIENCE)
        await go_on.wait()
        return Completed()

    batch, scrape, late = make_job(carol, "batch"), make_job(carol, "scrape"), make_job(carol)
    worker = hire(executor)
    running = [aside.submit(worker.run, job.id) for job in (batch, scrape)]
    begun.wait(PATIENCE)

    worker.stop()
    running[0].result(PATIENCE)
    worker.run(late.id)
    worker._loop.call_soon_threadsafe(go_on.set)
    running[1].result(PATIENCE)

    assert [reread(job).status for job in (batch, scrape, late)] == ["queued", "completed", "queued"]
    assert story(batch) == ["queued", "started", "requeued"]


def test_a_full_lane_leaves_jobs_queued_and_other_lanes_alone(
    carol: Member, hire: Hire, aside: ThreadPoolExecutor
) -> None:
    reader = Reader(stop_at=0)
    worker = hire(reader, lanes=[replace(BATCHES, slots=1), DEFAULT])
    first, second, scrape = make_job(carol), make_job(carol), make_job(carol, "scrape")
    running = aside.submit(worker.run, first.id)
    assert reader.reached.wait(PATIENCE)

    worker.run(second.id)
    assert reread(second).status == "queued"
    completion.cancel(workspace_id=carol.workspace.id, job_id=first.id)
    running.result(PATIENCE)

    reader.stop_at = -1
    worker.run(scrape.id)
    worker.run(second.id)
    assert [reread(job).status for job in (second, scrape)] == ["completed", "completed"]
