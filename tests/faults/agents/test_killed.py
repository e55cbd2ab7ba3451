"""SIGKILL to each process in turn, with an agent running and a client attached."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Set
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from stack.harness import Stack
from tests.faults.agents.conftest import STUCK_AFTER
from tests.faults.agents.stack_faults import agree, crowd, kill, stopped, until_agreed, until_well
from tests.integration.driving import (
    Database,
    Member,
    adds_up,
    answers,
    attach,
    chromium_of,
    command,
    jailed,
    plain_http,
    verify_ledger,
    visit,
)
from tests.patience import PATIENCE, until

pytestmark = [pytest.mark.integration, pytest.mark.alone]


@pytest.mark.parametrize("name", ["api", "worker", "beat", "redis", "postgres"])
def test_a_running_agent_outlives(name: str, stack: Stack, member: Member, database: Database) -> None:
    agent = member.burner()
    others = {process: pid for process, pid in stack.pids.items() if process != name}

    with attach(agent["cdp_url"]) as cdp:
        command(cdp, "Runtime.evaluate", expression="window.kept = 'here'")
        kill(stack, name)
        until_well(stack, database)
        kept = command(cdp, "Runtime.evaluate", expression="window.kept")["result"]["value"]

    assert kept == "here"
    assert {process: pid for process, pid in stack.pids.items() if process != name} == others
    assert member.agent(agent["id"]) == agent
    agree(stack, database)
    assert member.delete(f"/v1/agents/{agent['id']}").status_code == 204
    (another,) = crowd(member, 1)
    member.delete(f"/v1/agents/{another['id']}")
    assert member.kinds(agent["id"]) == member.kinds(another["id"]) == [("hold", 0), ("capture", -1)]
    assert adds_up(member.ledger()) == member.credits() == (98, 0)


def test_agents_end_with_their_runner_free_of_charge(stack: Stack, member: Member, database: Database) -> None:
    agents = crowd(member, 2)
    main = chromium_of(stack, agents[0])
    old = set(jailed(stack))
    assert main in old

    kill(stack, "runner")
    until(lambda: not old & set(jailed(stack)), 5, what="the end of every browser of the dead runner")
    for agent in agents:
        ended = member.ended(agent["id"])
        assert (ended["status"], ended["cost_credits"]) == ("destroyed", 0)
        assert database.reason(agent["id"]) == "crashed"
        assert [type for type, _ in database.events(agent["id"])] == ["agent.provisioned", "agent.destroyed"]
        assert member.kinds(agent["id"]) == [("hold", 0), ("release", 0)]

    until_well(stack, database)
    agree(stack, database)
    assert all(_is_404(agent["cdp_http"]) for agent in agents)
    assert member.credits() == (100, 0)
    assert crowd(member, 1)[0]["status"] == "running"


def _is_404(cdp_http: str) -> bool:
    return visit(cdp_http + "/json/version").status_code == 404


def test_an_api_killed_while_it_provisions_leaves_nothing_halfway(
    stack: Stack, member: Member, database: Database
) -> None:
    chance = random.Random(20260606)  # noqa: S311
    outcomes: list[int | None] = []
    for turn in range(4):
        until(lambda: answers(stack), what="the api")
        with ThreadPoolExecutor(3) as threads:
            if turn % 2:  # surely in the middle: the runner gives out nothing
                abandoned = _queued(database)
                with stopped(stack.pids["runner"]):
                    asked = [threads.submit(_provision, stack, member.key) for _ in range(3)]
                    until(functools.partial(_queued, database, abandoned), what="an agent that waits for its browser")
                    kill(stack, "api")
            else:
                asked = [threads.submit(_provision, stack, member.key) for _ in range(3)]
                time.sleep(chance.uniform(0.0, 0.3))  # the random moment
                kill(stack, "api")
            outcomes += [one.result() for one in asked]
        until(lambda: answers(stack), what="the api")
        for agent_id in database.live_agents():
            if database.rows("SELECT 1 FROM agents_agent WHERE id = %s AND status = 'running'", agent_id):
                assert member.delete(f"/v1/agents/{agent_id}").status_code == 204
    assert None in outcomes  # some were cut off

    until(lambda: not database.live_agents(), STUCK_AFTER + PATIENCE, what="the settling of abandoned agents")
    until_well(stack, database)
    until_agreed(stack, database)
    assert not database.open_holds()
    states = database.rows(
        "SELECT status, error_code, count(*) AS n FROM agents_agent WHERE workspace_id = %s GROUP BY 1, 2",
        member.workspace_id,
    )
    assert {(row["status"], row["error_code"]) for row in states} <= {
        ("destroyed", ""),
        ("failed", "UPSTREAM_TIMEOUT"),
        ("failed", "UPSTREAM_UNAVAILABLE"),
    }
    assert any(
        row["error_code"] == "UPSTREAM_TIMEOUT" for row in states
    )  # some had a hold, and no process that continued
    destroyed = sum(row["n"] for row in states if row["status"] == "destroyed")
    assert adds_up(member.ledger()) == member.credits() == (100 - destroyed, 0)
    assert crowd(member, 1)[0]["status"] == "running"


def _queued(database: Database, before: Set[str] = frozenset()) -> set[str]:
    return {row["id"] for row in database.rows("SELECT id FROM agents_agent WHERE status = 'queued'")} - before


def _provision(stack: Stack, key: str) -> int | None:
    try:
        with plain_http() as http:
            answer = http.post(stack.api_url + "/v1/agents", headers={"X-API-Key": key}, json={})
    except httpx.TransportError:
        return None
    return answer.status_code


def test_the_ledger_verifies_after_all_that(stack: Stack) -> None:
    verify_ledger(stack)
