"""Folds the events of every job again, and compares the result with the job's row and hold, or rewrites the row."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import cast

from django.db import transaction
from django.utils import timezone

from apps.billing.models import Hold
from apps.core.database import read_snapshot
from apps.jobs.lifecycle import TERMINAL, EventType, IllegalEvent
from apps.jobs.models import Job, JobEvent
from apps.jobs.projection import FIELDS, Event, fold
from apps.jobs.services import event_log

_AT_ONCE = 500


def problems() -> Iterator[str]:
    """One sentence for each job that has a problem, about the first one. Reads one snapshot of the database."""
    with read_snapshot():
        everything = Job.objects.order_by("id").defer("params", "metadata").iterator(chunk_size=_AT_ONCE)
        while jobs := list(islice(everything, _AT_ONCE)):
            events = _events(job.id for job in jobs)
            holds = {hold.reference: hold for hold in Hold.objects.filter(job_id__in=[job.id for job in jobs])}
            for job in jobs:
                problem = _problem_with(job, events[job.id], holds.get(job.hold_reference))
                if problem is not None:
                    yield f"job {job.id}: {problem}"


def rebuild() -> Iterator[uuid.UUID]:
    """Rewrites rows that differ from the fold of their events, and yields their ids. A job whose events can't be folded
    is left as it is: `problems` reports it.
    """
    for job_id in list(Job.objects.order_by("id").values_list("id", flat=True)):
        if _rebuild(job_id):
            yield job_id


@transaction.atomic
def _rebuild(job_id: uuid.UUID) -> bool:
    job = event_log.lock(job_id)
    try:
        state = fold(_events([job_id])[job_id])
    except (IllegalEvent, KeyError):
        return False
    return event_log.rewrite(job, state, now=timezone.now())


def _events(job_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, list[Event]]:
    events: dict[uuid.UUID, list[Event]] = defaultdict(list)
    for row in JobEvent.objects.filter(job_id__in=list(job_ids)).order_by("job_id", "seq"):
        kind = cast(EventType, row.type)
        event = Event(seq=row.seq, type=kind, at=row.created_at, fence=row.fence, data=row.data)
        events[row.job_id].append(event)
    return events


def _problem_with(job: Job, events: list[Event], hold: Hold | None) -> str | None:
    try:
        state = fold(events)
    except IllegalEvent as error:
        return str(error)
    except KeyError as error:
        return f"an event lacks {error}"
    for name in FIELDS:
        said, folded = getattr(job, name), getattr(state, name)
        if said != folded:
            return f"its row says {name} = {said!r}, its events {folded!r}"
    if hold is None or hold.workspace_id != job.workspace_id:
        return f"its workspace has no hold {job.hold_reference}"
    settled = hold.status == Hold.Status.SETTLED
    if settled != (job.status in TERMINAL):
        return f"it is {job.status}, its hold is {hold.status}"
    if settled and hold.captured != job.credits_charged:
        return f"its row says {job.credits_charged} credits were charged, its hold {hold.captured}"
    return None
