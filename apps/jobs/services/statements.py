"""The statements of the job log, written out: each job passes here at least twice, and made by the ORM they cost more
than the database takes to execute them.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection

from apps.jobs.models import Job, JobEvent
from apps.jobs.projection import Event

_COLUMNS = tuple(field.attname for field in Job._meta.concrete_fields)
_JSON = frozenset({"params", "metadata", "result", "input_request"})
_MARKS = ", ".join(["%s"] * len(_COLUMNS))
_LOG = f"INSERT INTO {JobEvent._meta.db_table} (job_id, seq, type, data, fence, created_at)"
_BEGIN = f"WITH log AS ({_LOG} VALUES {{events}}) INSERT INTO jobs_job ({', '.join(_COLUMNS)}) VALUES ({_MARKS})"  # noqa: S608  constants only
_MOVE = f"""
    WITH moved AS (
        UPDATE jobs_job SET {{changes}} WHERE id = %s AND last_seq = %s AND fence = %s AND status = %s RETURNING id
    )
    {_LOG} SELECT event.* FROM moved, (VALUES {{events}}) AS event
"""  # noqa: S608


def insert(job: Job, events: Sequence[Event]) -> None:
    """A new row with its first events."""
    marks, values = _rows(job.id, events)
    row: list[Any] = [_adapted(name, getattr(job, name)) for name in _COLUMNS]
    with connection.cursor() as cursor:
        cursor.execute(_BEGIN.format(events=marks), [*values, *row])
    job._state.adding, job._state.db = False, connection.alias


def move(before: Job, changes: Mapping[str, Any], events: Sequence[Event]) -> bool:
    """Compare-and-set: changes the row and adds the events, if it is still at the event at which `before` was read."""
    marks, values = _rows(before.id, events)
    columns = ", ".join(f"{name} = %s" for name in changes)
    row: list[Any] = [_adapted(name, value) for name, value in changes.items()]
    guard: list[Any] = [before.id, before.last_seq, before.fence, before.status]
    with connection.cursor() as cursor:
        cursor.execute(_MOVE.format(changes=columns, events=marks), [*row, *guard, *values])
        return bool(cursor.rowcount)


def _rows(job_id: uuid.UUID, events: Sequence[Event]) -> tuple[str, list[Any]]:
    marks = ", ".join(["(%s, %s, %s, %s::jsonb, %s, %s)"] * len(events))
    return marks, [value for e in events for value in (job_id, e.seq, e.type, _json(e.data), e.fence, e.at)]


def _adapted(name: str, value: Any) -> Any:
    return _json(value) if name in _JSON and value is not None else value


def _json(value: Any) -> str:
    return _ENCODER.encode(value)


_ENCODER = DjangoJSONEncoder()
