"""A part that does not answer: no free browser, a silent runner, a Redis that has lost its data."""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from stack.harness import Stack
from tests.fakes.receivers import Receiver, slowly, status
from tests.faults.agents.conftest import LEASE_WAIT, MOST_BROWSERS
from tests.faults.agents.stack_faults import agree, crowd, kill, no_restarts, stopped, until_agreed, until_well
from tests.integration.driving import Database, Member, adds_up, answers, at_once, leases, short_lived
from tests.patience import PATIENCE, until

pytestmark = [pytest.mark.integration, pytest.mark.alone]


def test_no_browser_in_time(stack: Stack, member: Member, database: Database) -> None:
    held = [agent["id"] for agent in crowd(member, MOST_BROWSERS)]

    begun = time.monotonic()
    answers = at_once(3, lambda _: member.post("/v1/agents", {}))

    assert time.monotonic() - begun > LEASE_WAIT
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (504, "UPSTREAM_TIMEOUT")
    failed = [agent for agent in member.get("/v1/agents").json()["agents"] if agent["id"] not in held]
    assert {(agent["status"], agent["error_code"], agent["cost_credits"]) for agent in failed} == {
        ("failed", "UPSTREAM_TIMEOUT", 0)
    }
    for agent in failed:
        assert member.kinds(agent["id"]) == [("hold", 0), ("release", 0)]
        ((type, data),) = database.events(agent["id"])
        assert type == "agent.failed"
        assert data.keys() == {"agent_id", "error_code", "error_message"}
    assert leases(stack) == set(held)
    assert adds_up(member.ledger()) == member.credits() == (100, MOST_BROWSERS)
    member.delete(f"/v1/agents/{held[0]}")
    assert crowd(member, 1)[0]["status"] == "running"


def test_who_waits_gets_the_next_browser(stack: Stack, member: Member) -> None:
    held = [agent["id"] for agent in crowd(member, MOST_BROWSERS)]

    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(short_lived, member, ttl=300)  # the API here would not wait long enough for a start
        until(lambda: len(member.get("/v1/agents").json()["agents"]) > MOST_BROWSERS, what="another agent")
        assert member.delete(f"/v1/agents/{held[0]}").status_code == 204
        (agent_id,) = waiting.result()

    assert member.agent(agent_id)["status"] == "running"


def test_a_silent_runner(stack: Stack, member: Member, database: Database) -> None:
    agent = member.burner()
    with stopped(stack.pids["runner"]):
        refused = member.post("/v1/agents", {})
        assert (refused.status_code, refused.json()["code"]) == (502, "UPSTREAM_UNAVAILABLE")
        assert member.credits() == (100, 1)
        assert member.agent(agent["id"])["status"] == "running"
        assert member.delete(f"/v1/agents/{agent['id']}").status_code == 204  # its owner need not wait for it
        assert member.credits() == (99, 0)

    until_well(stack, database)
    until_agreed(stack, database)
    assert adds_up(member.ledger()) == member.credits() == (99, 0)


def test_no_runner_at_all(stack: Stack, member: Member, database: Database) -> None:
    agent = member.burner()
    with no_restarts(stack):
        os.kill(stack.pids["runner"], signal.SIGKILL)
        refused = member.post("/v1/agents", {})
        assert (refused.status_code, refused.json()["code"]) == (502, "UPSTREAM_UNAVAILABLE")
        assert member.credits()[0] == 100
        assert not answers(stack, "/readyz")
        assert member.get("/v1/agents").status_code == 200

    assert member.ended(agent["id"])["cost_credits"] == 0
    until_well(stack, database)
    agree(stack, database)
    assert adds_up(member.ledger()) == member.credits() == (100, 0)


def test_a_redis_that_forgot_everything(stack: Stack, member: Member, database: Database) -> None:
    url = json.loads((stack.home / "stack.json").read_text())["REDIS_URL"]
    agent = member.burner()

    with redis.Redis.from_url(url) as client:
        client.flushall()

    assert member.delete(f"/v1/agents/{agent['id']}").status_code == 204
    until_well(stack, database)
    until_agreed(stack, database)


def test_a_worker_in_the_middle_of_a_task_survives_its_broker(stack: Stack, database: Database) -> None:
    worker = stack.pids["worker"]
    begun = "SELECT 1 FROM core_beattick WHERE name = 'agents.reconcile_runner' AND started_at > %s"
    with stopped(stack.pids["runner"]):  # the reconciliation waits for its answer
        since = database.now()
        until(lambda: database.rows(begun, since), what="the beginning of a reconciliation")
        kill(stack, "redis")

    until_well(stack, database)
    assert stack.pids["worker"] == worker
    assert "Unrecoverable error" not in stack.log("worker")


def test_without_redis_agents_come_and_go(stack: Stack, member: Member, database: Database) -> None:
    with no_restarts(stack):
        os.kill(stack.pids["redis"], signal.SIGKILL)
        agent = member.burner()
        assert member.agent(agent["id"])["status"] == "running"
        assert member.delete(f"/v1/agents/{agent['id']}").status_code == 204
        assert answers(stack)
        assert not answers(stack, "/readyz")

    until_well(stack, database)
    assert adds_up(member.ledger()) == member.credits() == (99, 0)


def test_a_database_that_comes_back_is_used_again_at_once(stack: Stack, member: Member, database: Database) -> None:
    agent = member.burner()
    at_once(16, lambda _: member.get("/v1/credits"))  # every thread has its connection

    with no_restarts(stack):
        os.kill(stack.pids["postgres"], signal.SIGINT)  # its "fast" shutdown
        until(lambda: not answers(stack, "/readyz"), what="a notice that the database is away")
        assert answers(stack, "/healthz")
    until(lambda: answers(stack, "/readyz"), what="readiness")

    replies = at_once(16, lambda _: member.get(f"/v1/agents/{agent['id']}"))
    replies += at_once(16, lambda _: member.get("/v1/credits"))
    assert {reply.status_code for reply in replies} == {200}
    until_well(stack, database)
    assert member.agent(agent["id"])["status"] == "running"


def test_events_outlive_a_database_that_crashes_while_they_are_sent(
    stack: Stack, member: Member, database: Database, shop: Receiver
) -> None:
    """With Redis emptied meanwhile. What was sent and not written down comes again, under the same id."""
    hook = f"/v1/webhooks/{member.post('/v1/webhooks', {'url': shop.url()}).json()['id']}"
    shop.temper = slowly(0.5, status(200))

    def ping() -> str:
        answer = member.post(f"{hook}/ping")
        assert answer.status_code == 202, answer.text
        return str(answer.json()["event_id"])

    pinged = {ping() for _ in range(20)}
    shop.wait_for(1)
    with no_restarts(stack):
        os.kill(stack.pids["postgres"], signal.SIGQUIT)  # its "immediate" shutdown: a crash, but for the name
        with redis.Redis.from_url(json.loads((stack.home / "stack.json").read_text())["REDIS_URL"]) as client:
            client.flushall()
        until(lambda: not answers(stack, "/readyz"), what="a notice that the database is away")
    until(lambda: answers(stack, "/readyz"), what="readiness")
    pinged.add(ping())

    until(lambda: pinged <= {got.headers["webhook-id"] for got in shop.got}, 2 * PATIENCE, what="every event")
    until_well(stack, database)
    assert {got.headers["webhook-id"] for got in shop.got} == pinged
    member.delete(hook)
