"""No agent runs past its deadline, also when other parts of the stack are down.

The API takes five minutes at least, so these agents come from the service behind it, with seconds.
"""

from __future__ import annotations

import os
import re
import signal
import time
from datetime import datetime

import pytest

from stack.harness import Stack
from tests.faults.agents.stack_faults import agree, no_restarts, stopped, until_agreed, until_well
from tests.integration.driving import Database, Member, adds_up, chromium_of, chromiums, leases, short_lived
from tests.patience import until

pytestmark = [pytest.mark.integration, pytest.mark.alone]


def expired_at(stack: Stack, agent_id: str) -> float | None:
    """When its Chromium had died of that, by the runner's own clock: we may look too late."""
    said = re.search(rf"^(\S+ \S+) INFO \S+ lease {agent_id} ended: expired$", stack.log("runner"), re.MULTILINE)
    return None if said is None else datetime.strptime(said[1], "%Y-%m-%d %H:%M:%S,%f").timestamp()  # noqa: DTZ007


def test_the_browser_ends_at_its_deadline_while_the_other_processes_are_stopped(
    stack: Stack, member: Member, database: Database
) -> None:
    (agent_id,) = short_lived(member, ttl=15)
    agent = member.agent(agent_id)
    deadline = datetime.fromisoformat(agent["expires_at"]).timestamp()
    pids = stack.pids
    with stopped(*(pids[name] for name in ("beat", "worker", "api"))):
        pid = chromium_of(stack, agent)
        assert time.time() < deadline
        until(lambda: pid not in chromiums(stack), what="the end of its Chromium")
        died = until(lambda: expired_at(stack, agent_id), what="the runner's word for it")
        assert deadline - 0.1 <= died <= deadline + 1.5
        assert leases(stack) == set()
        assert database.live_agents() == {agent_id}

    ended = member.ended(agent_id)
    assert (ended["status"], ended["cost_credits"]) == ("destroyed", 1)
    assert database.reason(agent_id) == "expired"
    until_well(stack, database)
    assert [type for type, _ in database.events(agent_id)] == ["agent.provisioned", "agent.destroyed"]
    assert database.events(agent_id)[-1][1]["reason"] == "expired"
    assert member.kinds(agent_id) == [("hold", 0), ("capture", -1)]
    assert adds_up(member.ledger()) == member.credits() == (99, 0)
    agree(stack, database)


def test_beat_settles_what_a_silent_runner_does_not_report(stack: Stack, member: Member, database: Database) -> None:
    (agent_id,) = short_lived(member, ttl=12)
    with stopped(stack.pids["runner"]):
        ended = member.ended(agent_id)
        assert (ended["status"], database.reason(agent_id)) == ("destroyed", "crashed")
        late = datetime.fromisoformat(ended["destroyed_at"]) - datetime.fromisoformat(ended["expires_at"])
        assert late.total_seconds() <= 0  # it ran until its deadline at most, not until the sweep

    until_well(stack, database)
    assert member.kinds(agent_id) == [("hold", 0), ("release", 0)]
    until_agreed(stack, database)


def test_an_agent_whose_runner_died_unseen_is_settled(stack: Stack, member: Member, database: Database) -> None:
    agent = member.burner()
    with no_restarts(stack):
        os.kill(stack.pids["beat"], signal.SIGKILL)
        os.kill(stack.pids["worker"], signal.SIGKILL)
        os.kill(stack.pids["runner"], signal.SIGKILL)

    assert member.ended(agent["id"])["cost_credits"] == 0
    assert database.reason(agent["id"]) == "crashed"
    until_well(stack, database)
    assert member.kinds(agent["id"]) == [("hold", 0), ("release", 0)]
    agree(stack, database)


def test_ending_and_expiring_at_the_same_moment_charges_once(stack: Stack, member: Member, database: Database) -> None:
    ids = short_lived(member, ttl=4, count=2)
    deadline = max(datetime.fromisoformat(member.agent(agent_id)["expires_at"]).timestamp() for agent_id in ids)
    while time.time() < deadline + 1.5:  # the runner's report, beat's sweep and we
        for agent_id in ids:
            member.agent(agent_id)
        if time.time() > deadline - 0.05:
            for agent_id in ids:
                assert member.delete(f"/v1/agents/{agent_id}").status_code == 204

    for agent_id in ids:
        member.ended(agent_id)  # had we no moment to end it
        assert member.kinds(agent_id) == [("hold", 0), ("capture", -1)]
        assert [type for type, _ in database.events(agent_id)] == ["agent.provisioned", "agent.destroyed"]
    assert adds_up(member.ledger()) == member.credits() == (98, 0)
