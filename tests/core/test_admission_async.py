"""Asynchronous views pass the same admission as synchronous ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import LazySettings

from apps.core.ratelimits import TABLE, Limit
from browsa.serving import Application
from tests.cast import Member, join
from tests.core import keyed_urls
from tests.core.test_serving import ask

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def application(settings: LazySettings) -> Iterator[Application]:
    settings.ROOT_URLCONF = "tests.core.keyed_urls"
    keyed_urls.executed.clear()
    keyed_urls.cancelled.clear()
    keyed_urls.go_on = asyncio.Event()
    application = Application()
    yield application
    application.close()


@pytest.fixture
def carol(transactional_db: None) -> Member:
    return join("carol")


async def probe(
    application: Application, member: Member, body: bytes = b"{}", key: bytes = b"k"
) -> tuple[int, dict[str, str], Any]:
    headers = [(b"idempotency-key", key)] if key else []
    return await ask(application, "POST", "/v1/probe", key=member.secret, chunks=[body], headers=headers, stay=True)


async def test_a_repeat_gets_the_same_answer(application: Application, carol: Member) -> None:
    status, headers, body = await probe(application, carol)
    again, replayed, same = await probe(application, carol)

    assert (status, again, same) == (201, 201, body)
    assert ("idempotent-replay" in headers, replayed["idempotent-replay"]) == (False, "true")
    assert len(keyed_urls.executed) == 1


async def test_fifty_at_once_execute_once(application: Application, carol: Member) -> None:
    answers = await asyncio.gather(*(probe(application, carol) for _ in range(50)))

    assert {status for status, _, _ in answers} <= {201, 409}
    assert len(keyed_urls.executed) == 1


async def test_without_a_key_each_executes(application: Application, carol: Member) -> None:
    answers = await asyncio.gather(*(probe(application, carol, key=b"") for _ in range(5)))

    assert [status for status, _, _ in answers] == [201] * 5
    assert len(set(keyed_urls.executed)) == 5


async def test_what_never_began_may_be_tried_again(application: Application, carol: Member) -> None:
    assert (await probe(application, carol, b'"refuse"'))[0] == 400
    assert (await probe(application, carol))[0] == 201


async def hang_up_once_begun(application: Application, member: Member, body: bytes) -> None:
    messages = [{"type": "http.request", "body": body}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        while not keyed_urls.executed:
            await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError("the client has disconnected")

    headers = [(b"x-api-key", member.secret.encode()), (b"idempotency-key", b"k")]
    scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/v1/probe", "query_string": b""}
    await application({**scope, "headers": headers, "client": ("test", 1), "server": ("test", 80)}, receive, send)


async def test_a_client_that_goes_away_leaves_the_outcome_to_the_subject(
    application: Application, carol: Member
) -> None:
    await hang_up_once_begun(application, carol, b'"wait"')

    _, headers, body = await probe(application, carol, b'"wait"')

    assert body == {"settled": True}
    assert headers["idempotent-replay"] == "true"
    assert keyed_urls.executed == keyed_urls.cancelled


async def test_a_key_is_needed(application: Application) -> None:
    status, headers, body = await ask(application, "POST", "/v1/probe", key="agt_live_" + "0" * 32, stay=True)

    assert (status, body["code"], body["request_id"]) == (401, "INVALID_API_KEY", headers["x-request-id"])


async def test_rate_limits_hold(
    application: Application, carol: Member, settings: LazySettings, patient_buckets: None
) -> None:
    settings.RATE_LIMITS = {**TABLE, "other": Limit(1, burst=3)}

    answers = await asyncio.gather(*(probe(application, carol, key=b"") for _ in range(9)))

    assert sorted(status for status, _, _ in answers) == [201] * 3 + [429] * 6
    assert all(headers["ratelimit-policy"] == '"other";q=3;w=180' for _, headers, _ in answers)


async def test_a_transaction_cannot_span_an_asynchronous_view(application: Application, carol: Member) -> None:
    status, _, _ = await ask(
        application, "POST", "/v1/impossible", key=carol.secret, headers=[(b"idempotency-key", b"k")], stay=True
    )

    assert status == 500
