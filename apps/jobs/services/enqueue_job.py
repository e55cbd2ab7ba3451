"""Sends a job to the workers."""

from __future__ import annotations

import uuid

from apps.core import enqueue
from apps.jobs.kinds import LANE_OF, Kind

RUN_TASK = "jobs.run"


def enqueue_job(*, job_id: uuid.UUID, kind: Kind) -> None:
    """Sends a Celery message after the commit. The message is a hint: when it is lost, the sweep sends another."""
    enqueue.on_commit(RUN_TASK, str(job_id), queue=LANE_OF[kind].queue)
