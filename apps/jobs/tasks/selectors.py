"""Database reads for tasks."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import connection

from apps.core.errors import NotFound
from apps.jobs.models import Job, StepScreenshot, TaskRun
from apps.jobs.selectors import job

_TOKENS = """
    SELECT coalesce(sum((data->'tokens'->>'input')::int), 0), coalesce(sum((data->'tokens'->>'output')::int), 0)
    FROM jobs_jobevent WHERE job_id = %s AND type = 'step'
"""


def token_usage(*, job_id: uuid.UUID) -> tuple[int, int]:
    """The tokens that a task's steps have used: input and output."""
    with connection.cursor() as cursor:
        cursor.execute(_TOKENS, [job_id])
        row = cursor.fetchone()
    return int(row[0]), int(row[1])


def screenshot(*, workspace_id: uuid.UUID, job_id: uuid.UUID, step: int) -> bytes:
    """A PNG. Raises NotFound."""
    found = job(workspace_id=workspace_id, job_id=job_id)
    png = StepScreenshot.objects.filter(job_id=found.id, step=step).values_list("png", flat=True).first()
    if png is None:
        raise NotFound("There is no screenshot of this step, or it has been deleted.")
    return bytes(png)


def overdue(*, before: datetime, limit: int) -> list[uuid.UUID]:
    """Ids of tasks that run past their deadline, the oldest deadline first."""
    late = TaskRun.objects.filter(deadline_at__lt=before).order_by("deadline_at")
    return list(late.values_list("job_id", flat=True)[:limit])


def is_overdue(*, job_id: uuid.UUID, before: datetime) -> bool:
    return TaskRun.objects.filter(job_id=job_id, deadline_at__lt=before).exists()


def waiting_for_input() -> list[Job]:
    """Tasks that wait for a human's answer."""
    return list(Job.objects.filter(status=Job.Status.INPUT_REQUIRED).only("id", "input_request"))
