"""The one place that writes events, and with them the row that they determine."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.core import hints
from apps.jobs.lifecycle import TERMINAL, EventType
from apps.jobs.models import Job
from apps.jobs.projection import FIELDS, Event, State, follow
from apps.jobs.services import event_log_sql

# Where each commit that appends an event publishes its job's id: `apps.jobs.waiting` listens.
CHANNEL = "browsa:jobs"


class LostRace(RuntimeError):
    """The row changed under a lock that was not taken."""


@dataclass(frozen=True, slots=True)
class Happened:
    """An event before it has its place in the sequence."""

    type: EventType
    data: dict[str, Any] = field(default_factory=dict)


def lock(job_id: uuid.UUID) -> Job:
    """The job, without its params, locked until the transaction ends. Raises Job.DoesNotExist."""
    job = event_log_sql.lock(job_id)
    if job is None:
        raise Job.DoesNotExist
    return job


def begin(job: Job, *happened: Happened, now: datetime) -> None:
    """Inserts a new job, whose unprojected fields are set, with its first events. Nobody can wait for it yet."""
    events, state = _follow(None, happened, now)
    _show(job, state)
    _in_transaction()
    event_log_sql.insert(job, events)


def append(job: Job, *happened: Happened, now: datetime | None = None, **columns: Any) -> None:
    """Adds events to a job that `lock` gave, and moves its row with them; `columns` are unprojected ones.

    Raises IllegalEvent. On success `job` shows the new row.
    """
    events, state = _follow(state_of(job), happened, now or timezone.now())
    changes = {name: value for name in FIELDS if (value := getattr(state, name)) != getattr(job, name)}
    _in_transaction()
    if not event_log_sql.move(job, {**changes, **columns}, events):
        raise LostRace(f"job {job.id} is no longer as it was at event {job.last_seq}")
    _show(job, state)
    for name, value in columns.items():
        setattr(job, name, value)
    if not (job.sync and job.status in TERMINAL):
        # Who wants a synchronous job's end has the answer. Others find out at their next look, within a second.
        hints.publish_on_commit(CHANNEL, str(job.id))


def rewrite(job: Job, state: State, *, now: datetime) -> bool:
    """Makes the row of a locked job say what `state`, the fold of its events, says. False if it does already."""
    if state_of(job) == state:
        return False
    # Who works on it, if anybody, is not in its events: a lease that is over lets the reaper find out.
    lease = (job.lease_until or now) if state.status == "running" else None
    row = {name: getattr(state, name) for name in FIELDS}
    Job.objects.filter(id=job.id).update(**row, lease_until=lease, enqueued_at=job.enqueued_at or now)
    return True


def state_of(job: Job) -> State:
    """What the row says, as a value."""
    return State(**{name: getattr(job, name) for name in FIELDS})


def _follow(state: State | None, happened: Sequence[Happened], now: datetime) -> tuple[list[Event], State]:
    events: list[Event] = []
    for one in happened:
        fence = (state.fence if state else 0) + (one.type == "started")
        event = Event(seq=state.last_seq + 1 if state else 1, type=one.type, at=now, fence=fence, data=one.data)
        state = follow(state, event)
        events.append(event)
    if state is None:
        raise ValueError("nothing happened")
    return events, state


def _show(job: Job, state: State) -> None:
    for one in dataclasses.fields(state):
        setattr(job, one.name, getattr(state, one.name))


def _in_transaction() -> None:
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("an event and the row that it moves are written in one transaction")
