"""Long-polls and event streams on a real API process."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import httpx
import psutil
import pytest
from django.db import connections as database

from apps.jobs.models import Job
from apps.jobs.services import completion
from apps.jobs.services.claims import Claim
from tests.cast import Member, join
from tests.jobs.making import add_pages, claimed, make_job
from tests.jobs.serving import Api, api_process
from tests.patience import PATIENCE

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

MANY = 1000

T = TypeVar("T")
P = ParamSpec("P")


async def aside(act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """On a thread that leaves no database connection behind."""

    def work() -> T:
        try:
            return act(*args, **kwargs)
        finally:
            database.close_all()

    return await asyncio.to_thread(work)


@pytest.fixture(scope="module")
def api(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with api_process(tmp_path_factory.mktemp("api")) as api:
        yield api


@pytest.fixture
def carol(transactional_db: None) -> Member:
    return join("carol")


@pytest.fixture
async def client(api: Api, carol: Member) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None)
    headers = {"X-API-Key": carol.secret}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, limits=limits, timeout=PATIENCE) as client:
        yield client


async def connections(api: Api) -> int:
    """How many clients the process has accepted, and not yet left."""
    process = psutil.Process(api.pid)
    found = await asyncio.to_thread(process.net_connections, kind="tcp")
    return sum(one.laddr.port == api.port and one.status != psutil.CONN_LISTEN for one in found)


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Looks ever more rarely: to look at a thousand connections is work."""
    pause = 0.02
    async with asyncio.timeout(PATIENCE):
        while not await true():
            await asyncio.sleep(pause)
            pause = min(0.3, 1.5 * pause)


def cpu_seconds(api: Api) -> float:
    times = psutil.Process(api.pid).cpu_times()
    return times.user + times.system


class Poll:
    """One long-poll on a plain socket, which costs a test less than a client library."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.answer = asyncio.create_task(reader.read())

    @classmethod
    async def begin(cls, api: Api, member: Member, job: Job, wait: int) -> Poll:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        head = f"GET /v1/jobs/{job.id}?wait={wait} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        writer.write(f"{head}X-API-Key: {member.secret}\r\n\r\n".encode())
        return cls(reader, writer)

    async def body(self) -> dict[str, Any]:
        head, _, body = (await self.answer).partition(b"\r\n\r\n")
        self._writer.close()
        assert head.startswith(b"HTTP/1.1 200"), head
        parsed: dict[str, Any] = json.loads(body)
        return parsed


async def test_a_thousand_long_polls_hold_no_threads_and_wake_together(api: Api, carol: Member) -> None:
    job = await aside(make_job, carol)
    claim = await aside(claimed, job)
    polls = [await Poll.begin(api, carol, job, wait=120) for _ in range(MANY)]
    await until(lambda: _is(connections(api), MANY))
    assert psutil.Process(api.pid).num_threads() < 80
    assert not any(poll.answer.done() for poll in polls)

    await aside(add_pages, claim, 0)
    ended, spent = time.monotonic(), cpu_seconds(api)
    await aside(completion.complete, claim)
    bodies = await asyncio.gather(*(poll.body() for poll in polls))
    took, spent = time.monotonic() - ended, cpu_seconds(api) - spent

    assert {(body["status"], body["progress_done"]) for body in bodies} == {("completed", 1)}
    before = cpu_seconds(api)
    for _ in range(2):  # some who ask now, for as many
        polls = [await Poll.begin(api, carol, job, wait=1) for _ in range(MANY // 10)]
        await asyncio.gather(*(poll.body() for poll in polls))
    asked = 5 * (cpu_seconds(api) - before)
    print(f"{MANY} long-polls answered {took:.2f} s after the end; CPU: {spent:.2f} s, {asked:.2f} s for as many polls")
    assert spent < asked


async def _is(number: Awaitable[int], expected: int) -> bool:
    return await number >= expected


async def test_a_long_poll_that_runs_out_answers_with_the_job_as_it_is(
    client: httpx.AsyncClient, carol: Member
) -> None:
    job = await aside(make_job, carol)

    begun = time.monotonic()
    reply = await client.get(f"/v1/jobs/{job.id}?wait=1")

    assert (reply.status_code, reply.json()["status"]) == (200, "queued")
    assert 0.9 < time.monotonic() - begun < 10


async def test_progress_does_not_end_a_long_poll(api: Api, carol: Member) -> None:
    job = await aside(make_job, carol)
    claim = await aside(claimed, job)
    poll = await Poll.begin(api, carol, job, wait=120)

    await aside(add_pages, claim, 0, 1, 2)
    await aside(completion.complete, claim)

    assert (await poll.body())["progress_done"] == 3


async def test_without_hints_a_long_poll_learns_a_second_later(
    api: Api, carol: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await aside(make_job, carol)
    poll = await Poll.begin(api, carol, job, wait=120)
    monkeypatch.setattr("apps.jobs.services.event_log.hints.publish_on_commit", lambda channel, message: None)

    await aside(completion.cancel, workspace_id=carol.workspace.id, job_id=job.id)

    assert (await asyncio.wait_for(poll.body(), 10))["status"] == "cancelled"


async def test_a_client_that_goes_away_is_waited_for_no_more(api: Api, carol: Member) -> None:
    job = await aside(make_job, carol)
    await until(lambda: _none(api))  # of other tests
    polls = [await Poll.begin(api, carol, job, wait=120) for _ in range(5)]
    await until(lambda: _is(connections(api), 5))

    for poll in polls:
        poll.answer.cancel()
        poll._writer.close()

    await until(lambda: _none(api))


async def _none(api: Api) -> bool:
    return await connections(api) == 0


Event = dict[str, str]


async def frames(response: httpx.Response) -> AsyncIterator[Event]:
    """Server-sent events, as a browser reads them."""
    event: Event = {}
    async for line in response.aiter_lines():
        name, _, value = line.partition(": ")
        if line:
            event[name] = value
        elif event:
            yield event
            event = {}


SSE = {"Accept": "text/event-stream"}


async def told(client: httpx.AsyncClient, job: Job, *, upto: int = 99, **headers: str) -> list[Event]:
    """The events of one connection, which hangs up after number `upto`."""
    listed: list[Event] = []
    async with client.stream("GET", f"/v1/jobs/{job.id}/events", headers={**SSE, **headers}) as response:
        assert response.headers["content-type"] == "text/event-stream"
        async for frame in frames(response):
            if "id" in frame:
                listed.append(frame)
                if int(frame["id"]) == upto:
                    break
    return listed


async def test_events_stream_live_until_the_job_is_over(client: httpx.AsyncClient, carol: Member) -> None:
    job = await aside(make_job, carol)
    listening = asyncio.create_task(told(client, job))
    claim = await aside(claimed, job)
    await aside(add_pages, claim, 0, 1)
    await aside(completion.complete, claim)

    listed = await asyncio.wait_for(listening, PATIENCE)

    assert [(event["id"], event["event"]) for event in listed] == [
        ("1", "queued"),
        ("2", "started"),
        ("3", "page"),
        ("4", "page"),
        ("5", "completed"),
    ]
    assert json.loads(listed[2]["data"])["data"]["position"] == 0


async def test_a_stream_resumes_after_the_last_event_seen(client: httpx.AsyncClient, carol: Member) -> None:
    job = await aside(make_job, carol)
    claim = await aside(claimed, job)
    first = await told(client, job, upto=2)
    await aside(add_pages, claim, 0, 1)
    second = await told(client, job, upto=3, **{"Last-Event-ID": first[-1]["id"]})
    await aside(completion.complete, claim)
    third = await told(client, job, **{"Last-Event-ID": second[-1]["id"]})

    assert [event["id"] for event in first + second + third] == ["1", "2", "3", "4", "5"]


async def test_a_client_that_has_all_events_is_told_not_to_reconnect(client: httpx.AsyncClient, carol: Member) -> None:
    job = await aside(make_job, carol, "scrape", pages=1, sync=True)
    await aside(completion.end_cancelled, Claim.of(job))

    reply = await client.get(f"/v1/jobs/{job.id}/events", headers={**SSE, "Last-Event-ID": "3"})

    assert (reply.status_code, reply.content) == (204, b"")


async def test_a_stream_of_anothers_job_is_404(api: Api, client: httpx.AsyncClient, carol: Member) -> None:
    job = await aside(lambda: make_job(join("mallory")))

    reply = await client.get(f"/v1/jobs/{job.id}/events", headers=SSE)

    assert (reply.status_code, reply.json()["code"]) == (404, "NOT_FOUND")
