"""Which status may follow which, and why an agent ends. Pure."""

from __future__ import annotations

from typing import Literal

Status = Literal["queued", "running", "destroyed", "failed"]
# finished: a quick page; renewal_failed: an identity whose month nobody paid
Reason = Literal["deleted", "expired", "closed", "crashed", "shutdown", "finished", "renewal_failed"]

TRANSITIONS: dict[Status, frozenset[Status]] = {
    "queued": frozenset({"running", "destroyed", "failed"}),
    "running": frozenset({"destroyed"}),
    "destroyed": frozenset(),
    "failed": frozenset(),
}
LIVE: tuple[Status, ...] = ("queued", "running")

# What ended without the client's doing and before its time: only full periods are charged for.
OUR_FAULT: frozenset[Reason] = frozenset({"crashed", "shutdown"})


def may_follow(current: Status, following: Status) -> bool:
    return following in TRANSITIONS[current]
