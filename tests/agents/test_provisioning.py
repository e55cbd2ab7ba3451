"""POST /v1/agents: what a client gets, and what every way of failing costs (nothing)."""

from __future__ import annotations

import gc
import re

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.accounts.models import Workspace
from apps.agents.models import Agent
from apps.billing.models import LedgerEntry
from apps.billing.verification import problems
from apps.core.times import from_unix, rfc3339
from runner.wire import LeaseRequest
from tests.cast import Member, at_once, join
from tests.fakes.runner import Behaviour, FakeRunner

pytestmark = pytest.mark.django_db


def test_a_burner_is_running_when_the_call_returns(alice: Member, runner: FakeRunner) -> None:
    agent = alice.burner(ttl="10m", initial_url="https://example.com/a?b=c")

    lease, row = runner.leases[agent["id"]], Agent.objects.get(id=agent["id"])
    profile, page = lease.profile, lease.page_id
    assert re.fullmatch(r"agt_[0-9a-f]{20}", agent["id"])
    assert agent["status"] == "running"
    assert agent["mode"] == "burner"
    assert agent["profile_id"] == agent["id"].replace("agt_", "prf_")
    assert agent["cdp_url"] == f"ws://127.0.0.1:8001/api/v1/cdp/{profile}/ws/page/{page}"
    assert agent["cdp_http"] == f"http://127.0.0.1:8001/api/v1/cdp/{profile}"
    assert agent["initial_url"] == "https://example.com/a?b=c"
    assert agent["trust_score"] == 840
    assert agent["warnings"] == []
    assert agent["cost_credits"] == 1
    assert agent["destroyed_at"] is agent["error_code"] is None
    assert re.fullmatch(r"http://127\.0\.0\.1:8000/live/r1-[0-9a-f]{32,}", agent["live_url"])
    assert lease.expires_at - lease.leased_at == pytest.approx(600)
    assert (row.started_at, row.expires_at) == (from_unix(lease.leased_at), from_unix(lease.expires_at))
    assert agent["expires_at"] == rfc3339(from_unix(lease.expires_at))


def test_the_runner_is_told_what_was_asked_for(alice: Member, runner: FakeRunner) -> None:
    alice.burner(ttl_seconds=400, country="DE", os_type="OS_TYPE_WINDOWS", initial_url="http://example.com")

    (asked,) = runner.requests
    assert (asked.ttl_seconds, asked.country, asked.os_family) == (400, "de", "windows")
    assert asked.initial_url == "http://example.com"
    assert asked.wait_seconds == 30


def test_an_empty_body_gives_the_defaults(alice: Member, runner: FakeRunner) -> None:
    reply = alice.post("/v1/agents")

    assert reply.status == 201
    assert (reply.body["os_type"], reply.body["country"]) == ("OS_TYPE_MACOS", "us")
    assert runner.requests[0].ttl_seconds == 300


@pytest.mark.parametrize(
    ("fields", "held"),
    [({}, 1), ({"ttl": "10m"}, 1), ({"ttl": "11m"}, 2), ({"ttl": "1h"}, 6), ({"ttl": "1h", "country": "de"}, 7)],
)
def test_the_most_it_can_cost_is_held(alice: Member, runner: FakeRunner, fields: dict[str, str], held: int) -> None:
    agent = alice.burner(**fields)

    assert agent["cost_credits"] == held
    assert alice.credits() == (100, held)


def test_provisioning_is_an_event(alice: Member, runner: FakeRunner) -> None:
    agent = alice.burner()

    assert alice.events() == [
        (
            "agent.provisioned",
            {
                "agent_id": agent["id"],
                "mode": "burner",
                "profile_id": agent["profile_id"],
                "trust_score": 840,
                "expires_at": agent["expires_at"],
                "cost_credits": 1,
                "cdp_url": agent["cdp_url"],
                "live_url": agent["live_url"],
            },
        )
    ]


@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [
        ("no_browser", 504, "UPSTREAM_TIMEOUT"),
        ("draining", 502, "UPSTREAM_UNAVAILABLE"),
        ("error", 502, "UPSTREAM_UNAVAILABLE"),
        ("garbage", 502, "UPSTREAM_UNAVAILABLE"),
        ("hang_up", 502, "UPSTREAM_UNAVAILABLE"),
    ],
)
def test_a_runner_that_fails_costs_nothing(
    alice: Member, runner: FakeRunner, behaviour: Behaviour, status: int, code: str
) -> None:
    runner.behaviour = behaviour

    reply = alice.post("/v1/agents", {})

    assert (reply.status, reply.code) == (status, code)
    assert alice.credits() == (100, 0)
    (listed,) = alice.get("/v1/agents").body["agents"]
    assert (listed["status"], listed["cost_credits"], listed["error_code"]) == ("failed", 0, code)
    assert listed["cdp_url"] is None
    assert [kind for kind, _ in alice.events()] == ["agent.failed"]
    assert listed["id"] in runner.released, "whatever the runner may have made of it is let go"


def test_a_country_without_a_working_upstream_is_a_502_that_names_it_and_costs_nothing(
    alice: Member, runner: FakeRunner
) -> None:
    runner.behaviour = "no_egress"

    reply = alice.post("/v1/agents", {"country": "DE"})

    assert (reply.status, reply.code) == (502, "UPSTREAM_UNAVAILABLE")
    assert reply.body["error"] == "No upstream proxy of country de works. It is safe to try again."
    assert alice.credits() == (100, 0)
    (listed,) = alice.get("/v1/agents").body["agents"]
    assert (listed["status"], listed["cost_credits"], listed["error_message"]) == ("failed", 0, reply.body["error"])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_runner_that_is_not_there_is_a_502(alice: Member, settings: LazySettings) -> None:
    settings.RUNNER_URL = "unix:/nonexistent/runner.sock"

    reply = alice.post("/v1/agents", {})

    assert (reply.status, reply.code) == (502, "UPSTREAM_UNAVAILABLE")
    assert alice.credits() == (100, 0)
    gc.collect()  # httpcore leaves the socket of a failed connect to the collector, with a warning


def test_without_credits_nothing_is_leased(alice: Member, runner: FakeRunner) -> None:
    from apps.billing import services

    services.hold(workspace_id=alice.workspace.id, amount=97, reference="other", source=services.Source())

    reply = alice.post("/v1/agents", {"ttl": "1h"})

    assert (reply.status, reply.code) == (402, "INSUFFICIENT_CREDIT")
    assert not runner.requests
    assert not Agent.objects.exists()


def test_the_cap_answers_429_until_one_ends(alice: Member, runner: FakeRunner) -> None:
    Workspace.objects.filter(id=alice.workspace.id).update(max_burners=1)
    first = alice.burner()

    refused = alice.post("/v1/agents", {})

    assert (refused.status, refused.code) == (429, "TOO_MANY_REQUESTS")
    assert refused.headers["Retry-After"] == "30"
    alice.delete(f"/v1/agents/{first['id']}")
    assert alice.post("/v1/agents", {}).status == 201


def test_the_cap_is_each_workspaces_own(alice: Member, bob: Member, runner: FakeRunner) -> None:
    Workspace.objects.filter(id=alice.workspace.id).update(max_burners=1)
    alice.burner()

    assert bob.post("/v1/agents", {}).status == 201


@pytest.mark.django_db(transaction=True)
def test_thirty_at_once_against_a_cap_of_ten(runner: FakeRunner) -> None:
    alice = join("alice")

    statuses = at_once(30, lambda _: alice.post("/v1/agents", {}).status)

    assert sorted(statuses) == [201] * 10 + [429] * 20
    assert alice.credits() == (100, 10)
    assert LedgerEntry.objects.filter(kind="hold").count() == 10
    assert list(problems()) == []


@pytest.mark.django_db(transaction=True)
def test_an_agent_destroyed_while_its_lease_is_made_never_runs(runner: FakeRunner) -> None:
    alice = join("alice")

    def destroy(request: LeaseRequest) -> None:
        at_once(1, lambda _: alice.delete(f"/v1/agents/{request.lease_id}"))

    runner.before_lease = destroy

    reply = alice.post("/v1/agents", {})

    assert (reply.status, reply.code) == (409, "AGENT_NOT_RUNNING")
    assert not runner.leases
    assert alice.credits() == (100, 0)
    assert [kind for kind, _ in alice.events()] == ["agent.destroyed"]


def test_only_the_second_commit_waits_for_the_disk(alice: Member, runner: FakeRunner) -> None:
    """The first is on the disk when the second is, and before that there is no answer."""
    with CaptureQueriesContext(connection) as captured:
        alice.burner()

    asynchronous = [n for n, query in enumerate(captured) if "synchronous_commit TO off" in query["sql"]]
    inserted = [n for n, query in enumerate(captured) if "insert_agents_agent" in query["sql"]]
    assert len(asynchronous) == 1
    assert asynchronous[0] < inserted[0]


@pytest.mark.django_db(transaction=True)
def test_an_agent_that_the_database_has_lost_is_not_given_out(runner: FakeRunner) -> None:
    """A database server that dies before the first transaction is on the disk leaves no agent and no hold."""
    alice = join("alice")

    def lose(request: LeaseRequest) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM agents_agent WHERE id = %s", [request.lease_id])
        connection.close()

    runner.before_lease = lose

    reply = alice.post("/v1/agents", {})

    assert (reply.status, reply.code) == (409, "AGENT_NOT_RUNNING")
    assert runner.released == [request.lease_id for request in runner.requests]
