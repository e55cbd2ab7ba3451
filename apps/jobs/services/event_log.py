"""Writes a job's events and, in the same statement, the row that they determine. Nothing else writes either."""

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
    """The row changed although the caller should have locked it."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that has no sequence number yet."""

    type: EventType
    data: dict[str, Any] = field(default_factory=dict)


def lock(job_id: uuid.UUID) -> Job:
    """The job, without its params, locked until the transaction ends. Raises Job.DoesNotExist."""
    job = event_log_sql.lock(job_id)
    if job is None:
        raise Job.DoesNotExist
    return job


def begin(job: Job, *new_events: NewEvent, now: datetime) -> None:
    """Inserts a new job with its first events. The caller has set the columns that are not projected."""
    events, state = _follow(None, new_events, now)
    _copy_to(job, state)
    _in_transaction()
    event_log_sql.insert(job, events)


def append(job: Job, *new_events: NewEvent, now: datetime | None = None, **columns: Any) -> None:
    """Appends events to a job that `lock` returned, and updates its row. `columns` are columns that are not projected.

    Raises IllegalEvent. On success `job` has the values of the new row.
    """
    events, state = _follow(state_of(job), new_events, now or timezone.now())
    changes = {name: value for name in FIELDS if (value := getattr(state, name)) != getattr(job, name)}
    _in_transaction()
    if not event_log_sql.move(job, {**changes, **columns}, events):
        raise LostRace(f"job {job.id} is no longer as it was at event {job.last_seq}")
    _copy_to(job, state)
    for name, value in columns.items():
        setattr(job, name, value)
    if not (job.sync and job.status in TERMINAL):
        # The client of a synchronous job gets its answer directly. Others see the end at their next read.
        hints.publish_on_commit(CHANNEL, str(job.id))


def rewrite(job: Job, state: State, *, now: datetime) -> bool:
    """Writes `state`, the fold of its events, to the row of a locked job. False when the row is the same already."""
    if state_of(job) == state:
        return False
    # Events do not say until when a claim is valid. An expired one lets the reaper decide.
    claim_until = (job.claim_until or now) if state.status == "running" else None
    row = {name: getattr(state, name) for name in FIELDS}
    Job.objects.filter(id=job.id).update(**row, claim_until=claim_until, enqueued_at=job.enqueued_at or now)
    return True


def state_of(job: Job) -> State:
    """The projected columns of the row as a value."""
    return State(**{name: getattr(job, name) for name in FIELDS})


def _follow(state: State | None, new_events: Sequence[NewEvent], now: datetime) -> tuple[list[Event], State]:
    events: list[Event] = []
    for new in new_events:
        fence = (state.fence if state else 0) + (new.type == "started")
        event = Event(seq=state.last_seq + 1 if state else 1, type=new.type, at=now, fence=fence, data=new.data)
        state = follow(state, event)
        events.append(event)
    if state is None:
        raise ValueError("there must be at least one event")
    return events, state


def _copy_to(job: Job, state: State) -> None:
    for one in dataclasses.fields(state):
        setattr(job, one.name, getattr(state, one.name))


def _in_transaction() -> None:
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("an event and its row must be written in one transaction")
