"""Ways to break parts of a stack, and the checks that it works again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stack.harness import Stack
from tests.integration.driving import Database, Member, answers, leases, pool_is_whole, runner_status
from tests.patience import PATIENCE, until


def kill(stack: Stack, name: str) -> None:
    """SIGKILL. Returns when the supervisor has started another."""
    before = stack.pids[name]
    os.kill(before, signal.SIGKILL)
    until(lambda: stack.pids.get(name, before) != before, what=f"the restart of {name}")


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """The processes stand still for the length of the block."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def no_restarts(stack: Stack) -> Iterator[None]:
    """The supervisor stands still, so that what is killed stays dead until the end of the block."""
    with stopped(stack.process.pid):
        yield


def crowd(member: Member, count: int) -> list[dict[str, Any]]:
    """So many agents, each from a warm browser: here a caller waits for a cold one five seconds only."""
    agents = []
    for _ in range(count):
        until(lambda: runner_status(member.stack)["warm"] >= 1, what="a warm browser")
        agents.append(member.burner())
    return agents


def until_well(stack: Stack, database: Database, seconds: float = PATIENCE) -> None:
    """Ready by its own account, beat and worker at work, a whole pool."""
    until(lambda: answers(stack, "/readyz"), seconds, what="readiness")
    since = database.now()
    until(lambda: "agents.expire" in database.ticks_since(since), seconds, what="a sweep")
    until(lambda: pool_is_whole(stack), seconds, what="a whole pool")


def agree(stack: Stack, database: Database) -> None:
    """Agents, leases and holds are the same set. To be asked when nothing moves."""
    assert database.live_agents() == leases(stack) == database.open_holds()


def until_agreed(stack: Stack, database: Database, seconds: float = PATIENCE) -> None:
    """For after a runner was away: what reached it too late is undone by the next reconciliation."""
    until(
        lambda: database.live_agents() == leases(stack) == database.open_holds(),
        seconds,
        what="agreement of agents, leases and holds",
    )
