"""The ASGI application as a server drives it: bodies read within their limit, threads shared, connections kept."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection

from browsa import serving
from browsa.serving import Application
from tests.cast import Member, join
from tests.core import async_urls
from tests.patience import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)

MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def application() -> Iterator[Application]:
    application = Application()
    yield application
    application.close()


@pytest.fixture
def fresh() -> Iterator[Application]:
    """One that has no connection yet."""
    application = Application()
    yield application
    application.close()


@pytest.fixture
def carol(transactional_db: None) -> Member:
    return join("carol")


@pytest.fixture
def own_session(transactional_db: None) -> int:
    """The test's own database session, which the test needs to clean up."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid: int = cursor.fetchone()[0]
    return pid


async def ask(
    application: Application,
    method: str,
    path: str,
    *,
    key: str = "",
    chunks: Sequence[bytes] = (b"",),
    headers: Sequence[tuple[bytes, bytes]] = (),
    stay: bool = False,
) -> tuple[int, dict[str, str], Any]:
    """One request whose body comes in `chunks`, without a length. Then the client hangs up, unless told to `stay`."""
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages[-1]["more_body"] = False
    incoming = iter(messages)
    sent: list[Any] = []

    async def receive() -> Any:
        message = next(incoming, None)
        if message is None and stay:
            await asyncio.Event().wait()
        return message or {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(b"x-api-key", key.encode()), (b"content-type", b"application/json"), *headers],
        "server": ("test", 80),
        "client": ("test", 1),
    }
    await application(scope, receive, send)
    start, body = sent[0], b"".join(message.get("body", b"") for message in sent[1:])
    found = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return start["status"], found, json.loads(body) if body else None


async def test_a_chunked_body_is_read(application: Application, carol: Member) -> None:
    status, _, body = await ask(application, "POST", "/v1/keys", key=carol.secret, chunks=[b'{"na', b'me": ', b'"ci"}'])

    assert (status, body["name"]) == (201, "ci")


async def test_a_chunked_body_over_the_limit_is_413(application: Application, carol: Member) -> None:
    chunks = [b" " * MEBIBYTE, b"{}"]

    status, headers, body = await ask(application, "POST", "/v1/keys", key=carol.secret, chunks=chunks)

    assert (status, body["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert body["request_id"] == headers["x-request-id"]
    assert headers["connection"] == "close"


async def test_a_body_of_just_the_limit_passes(application: Application, carol: Member) -> None:
    content = b'{"name": "ci"}'

    status, _, _ = await ask(
        application, "POST", "/v1/keys", key=carol.secret, chunks=[b" " * (MEBIBYTE - len(content)), content]
    )

    assert status == 201


async def test_a_client_that_asks_first_is_not_made_to_send_too_much(application: Application) -> None:
    headers = [(b"content-length", b"2000000"), (b"expect", b"100-continue")]

    status, _, _ = await ask(application, "POST", "/v1/keys", chunks=[b""], headers=headers)

    assert status == 413


async def test_many_requests_share_few_connections(fresh: Application, carol: Member) -> None:
    before = await asyncio.to_thread(_sessions)

    answers = await asyncio.gather(*(ask(fresh, "GET", "/v1/credits", key=carol.secret) for _ in range(200)))

    assert {status for status, _, _ in answers} == {200}
    assert len(await asyncio.to_thread(_sessions) - before) <= 16


async def test_a_restarted_database_heals_itself(application: Application, carol: Member, own_session: int) -> None:
    await asyncio.gather(*(ask(application, "GET", "/v1/credits", key=carol.secret) for _ in range(50)))

    await asyncio.to_thread(_end_sessions, own_session)

    answers = await asyncio.gather(*(ask(application, "GET", "/v1/credits", key=carol.secret) for _ in range(50)))
    assert {status for status, _, _ in answers} == {200}


async def test_static_files_and_404s_come_whole(application: Application) -> None:
    status, headers, body = await ask(application, "GET", "/nope")

    assert (status, body["code"]) == (404, "NOT_FOUND")
    assert int(headers["content-length"]) > 0


async def test_waiting_clients_hold_no_threads(fresh: Application, settings: LazySettings) -> None:
    settings.ROOT_URLCONF = "tests.core.async_urls"
    async_urls.waiting.clear()
    before = await asyncio.to_thread(_sessions)

    polls = [asyncio.create_task(ask(fresh, "GET", "/wait", stay=True)) for _ in range(1000)]
    while len(async_urls.waiting) < 1000:
        await asyncio.sleep(0)
    for event in async_urls.waiting:
        event.set()
    answers = await asyncio.gather(*polls)

    assert {(status, body["workspaces"]) for status, _, body in answers} == {(200, 0)}
    assert all("x-request-id" in headers for _, headers, _ in answers)
    assert len(await asyncio.to_thread(_sessions) - before) <= 16


def test_a_path_of_any_length_is_found_but_only_short_ones_are_kept() -> None:
    serving._resolve.cache_clear()

    for digits in (20, 60_000):
        for _ in range(3):
            match = serving.find_view(f"/v1/agents/agt_{'a' * digits}")
            assert match is not None
            assert match.kwargs == {"agent_id": f"agt_{'a' * digits}"}
    assert serving.find_view("/nope") is None

    assert serving._resolve.cache_info().currsize == 1


async def test_liveness_needs_no_free_thread(fresh: Application, settings: LazySettings) -> None:
    """A process whose threads all wait for a slow database is alive."""
    release, busy = threading.Event(), threading.Barrier(settings.API_THREADS + 1)

    def wait() -> None:
        busy.wait(PATIENCE)
        release.wait(PATIENCE)

    waiting = [fresh._threads.submit(wait) for _ in range(settings.API_THREADS)]
    await asyncio.to_thread(busy.wait, PATIENCE)
    try:
        async with asyncio.timeout(PATIENCE):
            status, headers, body = await ask(fresh, "GET", "/healthz")
    finally:
        release.set()

    assert (status, body) == (200, {"status": "ok"})
    assert headers["x-request-id"]
    for one in waiting:
        one.result(PATIENCE)


async def test_a_view_is_cancelled_when_its_client_goes_away(application: Application, settings: LazySettings) -> None:
    settings.ROOT_URLCONF = "tests.core.async_urls"
    async_urls.cancelled.clear()

    with pytest.raises(IndexError):  # nothing was sent
        await ask(application, "GET", "/wait")

    assert async_urls.cancelled == ["/wait"]


async def test_a_bug_in_an_asynchronous_view_is_enveloped(application: Application, settings: LazySettings) -> None:
    settings.ROOT_URLCONF = "tests.core.async_urls"

    status, headers, body = await ask(application, "GET", "/broken", stay=True)

    assert (status, body["code"]) == (500, "INTERNAL_ERROR")
    assert body["request_id"] == headers["x-request-id"]


async def test_a_server_that_ends_closes_the_databases_connections(carol: Member) -> None:
    application = Application()
    asked: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    told: asyncio.Queue[Any] = asyncio.Queue()
    before = await asyncio.to_thread(_sessions)
    living = asyncio.create_task(application({"type": "lifespan"}, asked.get, told.put))
    await asked.put({"type": "lifespan.startup"})
    assert await told.get() == {"type": "lifespan.startup.complete"}
    await asyncio.gather(*(ask(application, "GET", "/v1/credits", key=carol.secret) for _ in range(50)))
    ours = await asyncio.to_thread(_sessions) - before
    assert ours

    await asked.put({"type": "lifespan.shutdown"})

    assert await asyncio.wait_for(told.get(), PATIENCE) == {"type": "lifespan.shutdown.complete"}
    await living
    async with asyncio.timeout(PATIENCE):
        while await asyncio.to_thread(_sessions) & ours:
            await asyncio.sleep(0.01)


def _sessions() -> set[int]:
    """Those of clients, but for the ones that ask this: a session takes a moment to end."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND query NOT LIKE '%pg_stat_activity%'"
        )
        pids = {pid for (pid,) in cursor.fetchall()}
    connection.close()
    return pids


def _end_sessions(spared: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid NOT IN (%s, pg_backend_pid())",
            [int(1000 * PATIENCE), spared],
        )
    connection.close()
