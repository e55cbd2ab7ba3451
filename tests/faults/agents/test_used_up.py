"""The end of a stack, hard and soft, with agents running. Comes last in this folder: it uses the shared stack up."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.harness import Stack, running_stack
from stack.home import locate
from stack.servers import embedded_servers
from tests.faults.agents.conftest import SETTINGS
from tests.faults.agents.stack_faults import agree, crowd, until_well
from tests.integration.driving import Database, Member, adds_up, attach, command, jailed, verify_ledger
from tests.patience import PATIENCE, until

pytestmark = [pytest.mark.integration, pytest.mark.alone]


def test_a_killed_supervisor_and_a_ctrl_c(stack: Stack, _members: Iterator[Member], database: Database) -> None:
    member = next(_members)
    agents = crowd(member, 2)
    crashed = [agent["id"] for agent in agents]
    with attach(agents[0]["cdp_url"]) as cdp:
        command(cdp, "Page.enable")
        os.kill(stack.process.pid, signal.SIGKILL)
        stack.process.wait()
        until(lambda: not left(stack), 5, what="the end of every process of the stack")

    with running_stack(stack.home, stack.port, SETTINGS) as again:
        assert again.api_key == stack.api_key
        until(lambda: not database.live_agents(), what="the settling of what ran")
        for agent_id in crashed:
            assert (member.agent(agent_id)["cost_credits"], database.reason(agent_id)) == (0, "crashed")
            assert member.kinds(agent_id) == [("hold", 0), ("release", 0)]
        until_well(again, database)
        agree(again, database)
        assert adds_up(member.ledger()) == member.credits() == (100, 0)
        verify_ledger(again)
        shut_down = member.burner()["id"]

        assert again.stop(signal.SIGINT, PATIENCE) == 0
        until(lambda: not left(again), what="the end of every process of the stack")
        assert not locate(again.home).sockets.exists()

    with embedded_servers(stack.home):  # the database alone
        ended = ("destroyed", "shutdown", 0)
        sql = "SELECT status, end_reason, cost_credits FROM agents_agent WHERE id = %s"
        assert [tuple(row.values()) for row in database.rows(sql, shut_down)] == [ended]
        assert not database.open_holds()


def left(stack: Stack) -> dict[int, str]:
    """Processes that were started for this home: told so in their environment, jailed, or working on its files."""
    told = b"BROWSA_HOME=" + os.fsencode(stack.home)
    found = jailed(stack)
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
            if told in (entry / "environ").read_bytes().split(b"\0") or os.fsencode(stack.home) in line:
                found[int(entry.name)] = line.replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
    return found
