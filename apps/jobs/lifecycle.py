"""Which events may follow which status of a job, and the status that each event leads to. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["queued", "running", "input_required", "completed", "failed", "cancelled"]
EventType = Literal[
    "queued",
    "started",
    "attached",
    "progress",
    "page",
    "step",
    "cancel_requested",
    "requeued",
    "input_requested",
    "input_responded",
    "completed",
    "failed",
    "cancelled",
]

TERMINAL: frozenset[Status] = frozenset({"completed", "failed", "cancelled"})


class IllegalEvent(Exception):
    """The event may not follow the events of the job so far."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`after`: the statuses in which the event is legal (none: it is the first event). `to`: the status it leads to."""

    after: frozenset[Status]
    to: Status | None = None


def _rule(*after: Status, to: Status | None = None) -> Rule:
    return Rule(frozenset(after), to)


RULES: dict[EventType, Rule] = {
    "queued": _rule(to="queued"),
    "started": _rule("queued", to="running"),
    "attached": _rule("running"),
    "progress": _rule("running"),
    "page": _rule("running"),
    "step": _rule("running"),
    "cancel_requested": _rule("running"),
    "requeued": _rule("running", to="queued"),
    "input_requested": _rule("running", to="input_required"),
    "input_responded": _rule("input_required", to="queued"),
    "completed": _rule("running", to="completed"),
    "failed": _rule("queued", "running", "input_required", to="failed"),
    "cancelled": _rule("queued", "running", "input_required", to="cancelled"),
}


def status_after(current: Status | None, event: EventType) -> Status:
    """`current` is None before the first event. Raises IllegalEvent."""
    rule = RULES[event]
    legal = current is None if not rule.after else current in rule.after
    following = rule.to or current
    if not legal or following is None:
        raise IllegalEvent(f"{event} is not legal for a job that is {current or 'new'}")
    return following
