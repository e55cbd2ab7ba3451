"""GET and DELETE: what the owner sees, what an outsider sees (nothing), and what an agent cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.conf import LazySettings

from apps.agents.models import Agent
from apps.agents.serializers import AgentSerializer
from apps.agents.services import termination
from tests.cast import Member
from tests.fakes.runner import FakeRunner

pytestmark = pytest.mark.django_db

UNKNOWN = "agt_" + "0" * 20


def started_ago(agent_id: str, ago: timedelta) -> None:
    """Makes an agent older than it is."""
    Agent.objects.filter(id=agent_id).update(started_at=datetime.now(UTC) - ago)


def test_what_was_created_can_be_read(alice: Member, runner: FakeRunner) -> None:
    agent = alice.burner()

    assert alice.get(f"/v1/agents/{agent['id']}").body == agent
    assert agent.keys() == AgentSerializer().fields.keys(), "the OpenAPI document says what is sent"


def test_agents_are_listed_newest_first_in_pages(alice: Member, runner: FakeRunner) -> None:
    ids = [alice.burner()["id"] for _ in range(5)]

    first = alice.get("/v1/agents?limit=2").body
    second = alice.get(f"/v1/agents?limit=2&cursor={first['next_cursor']}").body
    third = alice.get(f"/v1/agents?limit=2&cursor={second['next_cursor']}").body

    listed = [agent["id"] for page in (first, second, third) for agent in page["agents"]]
    assert listed == ids[::-1]
    assert third["next_cursor"] is None


def test_the_list_filters_by_mode(alice: Member, runner: FakeRunner) -> None:
    alice.burner()

    assert len(alice.get("/v1/agents?mode=burner").body["agents"]) == 1
    assert alice.get("/v1/agents?mode=persistent").body["agents"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("mode=other", "mode"),
        ("mode=", "mode"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=-1", "limit"),
        ("limit=x", "limit"),
        ("limit=", "limit"),
        ("limit=1.0", "limit"),
        ("limit=%D9%A5", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("cursor=x", "cursor"),
        ("cursor=%00", "cursor"),
        ("cursor=WzFd", "cursor"),
        ("cursor=WzEsMl0", "cursor"),
        ("cursor=W251bGwsbnVsbF0", "cursor"),
        ("cursor=WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzIzOjAwIiwgIlx1MDAwMCJd", "cursor"),
    ],
)
def test_bad_queries_are_named(alice: Member, query: str, field: str) -> None:
    reply = alice.get(f"/v1/agents?{query}")

    assert (reply.status, list(reply.body["fields"])) == (400, [field])


def test_cdp_urls_while_it_runs_and_409_after(alice: Member, runner: FakeRunner) -> None:
    agent = alice.burner()

    cdp = alice.get(f"/v1/agents/{agent['id']}/cdp")
    alice.delete(f"/v1/agents/{agent['id']}")
    after = alice.get(f"/v1/agents/{agent['id']}/cdp")

    assert cdp.body == {name: agent[name] for name in ("cdp_url", "cdp_http", "profile_id", "expires_at")}
    assert (after.status, after.code) == (409, "AGENT_NOT_RUNNING")


def test_destroying_ends_the_lease_the_meter_and_the_addresses(alice: Member, runner: FakeRunner) -> None:
    agent = alice.burner(ttl="1h", country="de")

    reply = alice.delete(f"/v1/agents/{agent['id']}")

    assert (reply.status, reply.content) == (204, b"")
    assert runner.released == [agent["id"]]
    over = alice.get(f"/v1/agents/{agent['id']}").body
    assert (over["status"], over["cost_credits"], over["cdp_url"], over["cdp_http"]) == ("destroyed", 2, None, None)
    assert alice.credits() == (98, 0)
    assert alice.events()[-1] == (
        "agent.destroyed",
        {"agent_id": agent["id"], "mode": "burner", "destroyed_at": over["destroyed_at"], "reason": "deleted"},
    )


def test_destroying_twice_charges_once(alice: Member, runner: FakeRunner) -> None:
    agent = alice.burner()

    assert [alice.delete(f"/v1/agents/{agent['id']}").status for _ in range(3)] == [204, 204, 204]
    assert alice.credits() == (99, 0)
    assert len(alice.events()) == 2


@pytest.mark.parametrize(("seconds", "cost"), [(0, 1), (60, 1), (600, 1), (600.001, 2), (59 * 60, 6), (36_000, 6)])
def test_each_started_ten_minutes_cost_one_but_never_more_than_was_held(
    alice: Member, runner: FakeRunner, seconds: float, cost: int
) -> None:
    agent = alice.burner(ttl="1h")
    started_ago(agent["id"], timedelta(days=1))
    row = Agent.objects.get(id=agent["id"])
    assert row.started_at is not None

    assert termination.end(agent=row, reason="deleted", at=row.started_at + timedelta(seconds=seconds))

    assert alice.credits() == (100 - cost, 0)
    assert alice.get(f"/v1/agents/{agent['id']}").body["cost_credits"] == cost


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_runner_that_is_away_does_not_stop_a_delete(
    alice: Member, runner: FakeRunner, settings: LazySettings
) -> None:
    agent = alice.burner()
    settings.RUNNER_URL = "unix:/nonexistent/runner.sock"

    assert alice.delete(f"/v1/agents/{agent['id']}").status == 204
    assert alice.credits() == (99, 0)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/agents/{}"),
        ("DELETE", "/v1/agents/{}"),
        ("GET", "/v1/agents/{}/cdp"),
        ("GET", "/v1/agents/{}/trust"),
        ("GET", "/v1/agents/{}/fingerprint"),
        ("POST", "/v1/agents/{}/sessions"),
    ],
)
def test_anothers_agent_is_404_and_a_malformed_id_400(
    alice: Member, bob: Member, runner: FakeRunner, method: str, path: str
) -> None:
    agent = alice.burner()
    ask = {"GET": bob.get, "DELETE": bob.delete, "POST": bob.post}[method]

    for agent_id in (agent["id"], UNKNOWN):
        reply = ask(path.format(agent_id))
        assert (reply.status, reply.code) == (404, "NOT_FOUND")
    for malformed in ("x", UNKNOWN.upper(), UNKNOWN + "0", "agt_", "agt_%00", "agt_" + "g" * 20):
        reply = ask(path.format(malformed))
        assert (reply.status, reply.code) == (400, "INVALID_ID")
    assert alice.get(f"/v1/agents/{agent['id']}").body["status"] == "running"
    assert bob.get("/v1/agents").body["agents"] == []


def test_sessions_are_for_persistent_agents(alice: Member, runner: FakeRunner) -> None:
    reply = alice.post(f"/v1/agents/{alice.burner()['id']}/sessions", {})

    assert (reply.status, reply.code) == (400, "BAD_REQUEST")
    assert "persistent" in reply.body["error"]
