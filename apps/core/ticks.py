"""Runs beat ticks, each at most once at a time over all workers, and records them to show late ones."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.utils import timezone

from apps.core.models import BeatTick

_LOCK_CLASS = 0x62_72  # "br": separates these advisory locks from others in the same database


def run_tick(name: str, work: Callable[[], object]) -> bool:
    """Returns False when another worker runs the same tick. Raises what `work` raises."""
    with _tick_lock(name) as locked:
        if not locked:
            return False
        BeatTick.objects.update_or_create(name=name, defaults={"started_at": timezone.now()})
        try:
            work()
        except Exception as error:
            BeatTick.objects.filter(name=name).update(error=type(error).__name__)
            raise
        BeatTick.objects.filter(name=name).update(finished_at=timezone.now(), error="")
        return True


@dataclass(frozen=True, slots=True)
class TickState:
    """The last run of a tick. A tick that never ran has no times."""

    name: str
    period: timedelta
    started_at: datetime | None
    finished_at: datetime | None
    error: str

    def late_by(self, now: datetime) -> timedelta:
        """Counts from two periods after the last run: a tick may wait for others in the queue."""
        last = self.finished_at or self.started_at
        return timedelta() if last is None else max(timedelta(), now - last - 2 * self.period)


def states(periods: Mapping[str, timedelta]) -> list[TickState]:
    """In the order of the table."""
    rows = BeatTick.objects.in_bulk(list(periods))
    found = []
    for name, period in periods.items():
        row = rows.get(name)
        if row is None:
            found.append(TickState(name, period, None, None, ""))
        else:
            found.append(TickState(name, period, row.started_at, row.finished_at, row.error))
    return found


def last_finished(name: str) -> datetime | None:
    """When the tick last finished without an error."""
    return BeatTick.objects.filter(name=name).values_list("finished_at", flat=True).first()


@contextmanager
def _tick_lock(name: str) -> Iterator[bool]:
    """A session-level advisory lock: PostgreSQL releases it at once when the worker dies."""
    key = zlib.crc32(name.encode()) - 2**31
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [_LOCK_CLASS, key])
        (locked,) = cursor.fetchone()
        try:
            yield locked
        finally:
            if locked:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [_LOCK_CLASS, key])
