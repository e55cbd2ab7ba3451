"""The status transitions of an agent, and the reasons for its end. Pure."""

from __future__ import annotations

from typing import Literal

Status = Literal["queued", "running", "destroyed", "failed"]
# finished: the page of a quick call, or the task, has ended; renewal_failed: a month of an identity was not paid
Reason = Literal["deleted", "expired", "closed", "crashed", "shutdown", "finished", "renewal_failed"]

TRANSITIONS: dict[Status, frozenset[Status]] = {
    "queued": frozenset({"running", "destroyed", "failed"}),
    "running": frozenset({"destroyed"}),
    "destroyed": frozenset(),
    "failed": frozenset(),
}
LIVE: tuple[Status, ...] = ("queued", "running")

# The agent ended early, and not because of its client: only full periods are charged.
OUR_FAULT: frozenset[Reason] = frozenset({"crashed", "shutdown"})


def may_follow(current: Status, following: Status) -> bool:
    return following in TRANSITIONS[current]
