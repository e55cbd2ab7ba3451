"""The SQL of the event log. Each job executes it at least twice, and the ORM takes longer to build these statements
than PostgreSQL takes to execute them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection

from apps.core.prepared import Prepared
from apps.jobs.models import Job, JobEvent
from apps.jobs.projection import FIELDS, Event

_COLUMNS = {field.attname: field.column for field in Job._meta.concrete_fields if field.column}
_JSON = frozenset({"params", "metadata", "result", "input_request"})
_MARKS = ", ".join(["%s"] * len(_COLUMNS))
_LOG = f"INSERT INTO {JobEvent._meta.db_table} (job_id, seq, type, data, fence, created_at)"
_ROW = ", ".join(_COLUMNS.values())
_BEGIN = f"WITH log AS ({_LOG} VALUES {{events}}) INSERT INTO jobs_job ({_ROW}) VALUES ({_MARKS})"  # noqa: S608  constants only
_MOVE = f"""
    WITH moved AS (
        UPDATE jobs_job SET {{changes}} WHERE id = %s AND last_seq = %s AND fence = %s AND status = %s RETURNING id
    )
    {_LOG} SELECT event.* FROM moved, (VALUES {{events}}) AS event
"""  # noqa: S608
_EVENT = "(%s::uuid, %s::integer, %s, %s::jsonb, %s::integer, %s::timestamptz)"
# Without `params`, which may be large and which no caller of `lock` reads.
_UNPROJECTED = ("id", "workspace_id", "kind", "sync", "hold_reference", "page_credits", "claim_until", "enqueued_at")
_LOCKED = tuple(name for name in _COLUMNS if name in {*_UNPROJECTED, *FIELDS})  # in the order of `from_db`
_LOCKED_COLUMNS = ", ".join(_COLUMNS[name] for name in _LOCKED)
_LOCK = Prepared("lock_job", f"SELECT {_LOCKED_COLUMNS} FROM jobs_job WHERE id = %s FOR UPDATE")  # noqa: S608
# Statements for more events are not prepared: a batch writes any number of events at once, so plans would pile up.
_FEW = 3


def lock(job_id: uuid.UUID) -> Job | None:
    """The job, without its params, locked until the transaction ends."""
    with connection.cursor() as cursor:
        _LOCK.execute(cursor, [job_id])
        row = cursor.fetchone()
    if row is None:
        return None
    values = [
        json.loads(value) if name in _JSON and value is not None else value
        for name, value in zip(_LOCKED, row, strict=True)
    ]
    return Job.from_db(connection.alias, _LOCKED, values)


def insert(job: Job, events: Sequence[Event]) -> None:
    """A new row with its first events."""
    row: list[Any] = [_adapted(name, getattr(job, name)) for name in _COLUMNS]
    with connection.cursor() as cursor:
        _beginning(len(events)).execute(cursor, [*_values(job.id, events), *row])
    job._state.adding, job._state.db = False, connection.alias


def move(before: Job, changes: Mapping[str, Any], events: Sequence[Event]) -> bool:
    """Compare-and-set: updates the row and inserts the events if the row is still at the last event of `before`."""
    row: list[Any] = [_adapted(name, value) for name, value in changes.items()]
    guard: list[Any] = [before.id, before.last_seq, before.fence, before.status]
    values = [*row, *guard, *_values(before.id, events)]
    with connection.cursor() as cursor:
        if len(events) <= _FEW:
            _moving(tuple(changes), len(events)).execute(cursor, values)
        else:
            cursor.execute(_move(tuple(changes), len(events)), values)
        return bool(cursor.rowcount)


@cache
def _beginning(events: int) -> Prepared:
    return Prepared("begin_job", _BEGIN.format(events=", ".join([_EVENT] * events)))


@cache
def _moving(names: tuple[str, ...], events: int) -> Prepared:
    return Prepared("move_job", _move(names, events))


def _move(names: tuple[str, ...], events: int) -> str:
    changes = ", ".join(f"{_COLUMNS[name]} = %s" for name in names)
    return _MOVE.format(changes=changes, events=", ".join([_EVENT] * events))


def _values(job_id: uuid.UUID, events: Sequence[Event]) -> list[Any]:
    return [value for e in events for value in (job_id, e.seq, e.type, _json(e.data), e.fence, e.at)]


def _adapted(name: str, value: Any) -> Any:
    return _json(value) if name in _JSON and value is not None else value


def _json(value: Any) -> str:
    return _ENCODER.encode(value)


_ENCODER = DjangoJSONEncoder()
