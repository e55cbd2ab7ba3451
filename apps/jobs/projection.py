"""Folds a job's events into its row. Pure: `fold` defines every projected column."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from apps.jobs.lifecycle import EventType, IllegalEvent, Status, status_after

RequeueReason = Literal["lease_expired", "worker_stopping"]


@dataclass(frozen=True, slots=True)
class Event:
    """`fence` is the fencing token of the claim under which it was written: 0 before the first claim."""

    seq: int
    type: EventType
    at: datetime
    fence: int = 0
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class State:
    """The projected columns of a job's row. Each field is a column of the same name.

    `attempts` counts the claims that expired since the last progress. `credits_used` is the price of the work so far,
    `credits_charged` what was captured at the end.
    """

    status: Status
    last_seq: int
    fence: int
    created_at: datetime
    owner: str = ""
    attempts: int = 0
    progress_done: int = 0
    progress_total: int | None = None
    step_count: int = 0
    credits_used: int = 0
    credits_charged: int = 0
    request_id: str = ""
    agent_id: str = ""
    live_url: str = ""
    result: Any = None
    error_code: str = ""
    error_message: str = ""
    input_request: Any = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    cancel_requested_at: datetime | None = None


FIELDS: tuple[str, ...] = tuple(f.name for f in dataclasses.fields(State))


def fold(events: Iterable[Event]) -> State:
    """Raises IllegalEvent, also when a sequence number is missing or there is no event."""
    state: State | None = None
    for event in events:
        state = follow(state, event)
    if state is None:
        raise IllegalEvent("a job has at least one event")
    return state


def follow(state: State | None, event: Event) -> State:
    """The state after `event`; `state` is None before the first. Raises IllegalEvent."""
    status = status_after(state.status if state else None, event.type)
    if state is None:
        state = State(status=status, last_seq=0, fence=0, created_at=event.at)
    if event.seq != state.last_seq + 1:
        raise IllegalEvent(f"event {event.seq} follows event {state.last_seq}")
    if event.fence != state.fence + (event.type == "started"):
        raise IllegalEvent(f"event {event.seq} has fence {event.fence} after fence {state.fence}")
    changes = _CHANGES[event.type](state, event)
    return dataclasses.replace(state, **{"status": status, "last_seq": event.seq, **changes})


Changes = dict[str, Any]


def _queued(state: State, event: Event) -> Changes:
    return {
        "progress_total": event.data.get("progress_total"),
        "request_id": event.data.get("request_id", ""),
        "agent_id": event.data.get("agent_id", ""),
    }


def _started(state: State, event: Event) -> Changes:
    return {
        "fence": event.fence,
        "owner": event.data["owner"],
        "started_at": state.started_at or event.at,
    }


def _attached(state: State, event: Event) -> Changes:
    """`credits` is the price of the country, once for each task."""
    return {
        "agent_id": event.data["agent_id"],
        "live_url": event.data.get("live_url", ""),
        "credits_used": state.credits_used + event.data.get("credits", 0),
    }


def _progress(state: State, event: Event) -> Changes:
    return {
        "attempts": 0,
        "progress_done": event.data.get("done", state.progress_done),
        "progress_total": event.data.get("total", state.progress_total),
    }


def _page(state: State, event: Event) -> Changes:
    return {
        "attempts": 0,
        "progress_done": state.progress_done + 1,
        "credits_used": state.credits_used + event.data.get("credits", 0),
    }


def _step(state: State, event: Event) -> Changes:
    """`credits` is what this step adds to the price: at one credit per three steps, 1 for every third step."""
    return {
        "attempts": 0,
        "step_count": event.data["number"],
        "progress_done": event.data["number"],
        "credits_used": state.credits_used + event.data.get("credits", 0),
    }


def _cancel_requested(state: State, event: Event) -> Changes:
    return {"cancel_requested_at": state.cancel_requested_at or event.at}


def _requeued(state: State, event: Event) -> Changes:
    abandoned = event.data["reason"] == "lease_expired"
    return {"owner": "", "attempts": state.attempts + abandoned}


def _input_requested(state: State, event: Event) -> Changes:
    return {"owner": "", "attempts": 0, "input_request": event.data}


def _input_responded(state: State, event: Event) -> Changes:
    return {"input_request": None}


def _over(state: State, event: Event) -> Changes:
    return {
        "owner": "",
        "completed_at": event.at,
        "input_request": None,
        "credits_charged": event.data["credits_charged"],
        "result": event.data.get("result"),
        "error_code": event.data.get("error_code", ""),
        "error_message": event.data.get("error_message", ""),
    }


_CHANGES: dict[EventType, Callable[[State, Event], Changes]] = {
    "queued": _queued,
    "started": _started,
    "attached": _attached,
    "progress": _progress,
    "page": _page,
    "step": _step,
    "cancel_requested": _cancel_requested,
    "requeued": _requeued,
    "input_requested": _input_requested,
    "input_responded": _input_responded,
    "completed": _over,
    "failed": _over,
    "cancelled": _over,
}
