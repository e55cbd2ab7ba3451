"""While PostgreSQL is away every call that needs it is a 503 that says when to come again, and one line in the log."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Iterator

import psycopg2.errors
import pytest
from django.db import InterfaceError, OperationalError, ProgrammingError, connection

from apps.core.database import is_unreachable
from browsa.serving import Application
from tests.cast import Member, Reply, call, join, visitor
from tests.core.test_envelopes import assert_envelope
from tests.core.test_serving import ask

UNKNOWN = uuid.UUID(int=1)


@pytest.fixture
def carol(transactional_db: None) -> Member:
    return join("carol")


@pytest.fixture
def away(carol: Member) -> Iterator[None]:
    """New connections to the database fail."""
    host = connection.settings_dict["HOST"]
    connection.close()
    connection.settings_dict["HOST"] = "/nonexistent"
    yield
    connection.settings_dict["HOST"] = host


def complaint(code: str | None) -> OperationalError:
    """As Django raises it when the server, or without a code the driver, has complained."""
    cause = psycopg2.errors.lookup(code)() if code else psycopg2.OperationalError("connection refused")
    cause.__setstate__({"pgcode": code})
    error = OperationalError("said")
    error.__cause__ = cause
    return error


def assert_away(reply: Reply, caplog: pytest.LogCaptureFixture) -> None:
    assert_envelope(reply, 503, "UPSTREAM_UNAVAILABLE")
    assert reply.headers["Retry-After"] == "1"
    assert_said_once(caplog)


def assert_said_once(caplog: pytest.LogCaptureFixture) -> None:
    said = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in said] == ["the database can't be reached"]
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/credits"),
        ("POST", "/v1/keys"),
        ("POST", "/v1/agents"),
        ("DELETE", "/v1/agents/agt_" + "0" * 20),
        ("GET", f"/v1/jobs/{UNKNOWN}"),
    ],
)
def test_every_call_is_a_503(
    carol: Member, away: None, caplog: pytest.LogCaptureFixture, method: str, path: str
) -> None:
    assert_away(call(method, path, key=carol.secret, headers={"Idempotency-Key": "k"}), caplog)


def test_a_database_that_goes_away_during_a_call(
    carol: Member, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stopped(**kwargs: object) -> None:
        raise complaint("57P01")

    monkeypatch.setattr("apps.agents.selectors.agents", stopped)

    assert_away(carol.get("/v1/agents"), caplog)


def test_a_page_for_people_is_a_503_too(away: None, caplog: pytest.LogCaptureFixture) -> None:
    client = visitor()
    client.cookies["sessionid"] = "x" * 32

    assert client.get("/admin/").status_code == 503
    assert_said_once(caplog)


def test_a_complaint_of_the_database_is_still_a_bug(
    carol: Member, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def deadlock(**kwargs: object) -> None:
        raise complaint("40P01")

    monkeypatch.setattr("apps.agents.selectors.agents", deadlock)

    assert_envelope(carol.get("/v1/agents"), 500, "INTERNAL_ERROR")
    assert any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("path", ["/v1/credits", f"/v1/jobs/{UNKNOWN}"])
async def test_served_calls_are_503s_until_it_is_back(
    carol: Member, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    application = Application()
    host = connection.settings_dict["HOST"]
    try:
        connection.settings_dict["HOST"] = "/nonexistent"
        status, headers, body = await ask(application, "GET", path, key=carol.secret, stay=True)
        assert (status, body["code"], headers["retry-after"]) == (503, "UPSTREAM_UNAVAILABLE", "1")
        assert body["request_id"] == headers["x-request-id"]
        assert_said_once(caplog)

        connection.settings_dict["HOST"] = host
        status, _, _ = await ask(application, "GET", path, key=carol.secret, stay=True)
        assert status in (200, 404)
    finally:
        connection.settings_dict["HOST"] = host
        await asyncio.to_thread(application.close)


async def test_a_database_that_goes_away_during_an_asynchronous_call(
    carol: Member, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stopped(**kwargs: object) -> None:
        raise complaint("57P01")

    monkeypatch.setattr("apps.jobs.selectors.job", stopped)
    application = Application()
    try:
        status, headers, body = await ask(application, "GET", f"/v1/jobs/{UNKNOWN}", key=carol.secret, stay=True)
    finally:
        await asyncio.to_thread(application.close)

    assert (status, body["code"], headers["retry-after"]) == (503, "UPSTREAM_UNAVAILABLE", "1")
    assert_said_once(caplog)


@pytest.mark.parametrize(
    ("away", "codes"),
    [(True, [None, "08006", "57P01", "57P02", "57P03", "53300"]), (False, ["57014", "40P01", "55P03", "53200"])],
)
def test_the_servers_codes(away: bool, codes: list[str | None]) -> None:
    assert [is_unreachable(complaint(code)) for code in codes] == [away] * len(codes)


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (InterfaceError("connection already closed"), True),
        (InterfaceError("cursor already closed"), False),
        (ProgrammingError("the connection cannot be re-entered"), False),
        (ValueError("connection"), False),
    ],
)
def test_other_errors(error: Exception, away: bool) -> None:
    assert is_unreachable(error) == away
