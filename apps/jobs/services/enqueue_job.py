"""Tells a worker that there is a job to be had."""

from __future__ import annotations

import uuid

from apps.core import enqueue
from apps.jobs.kinds import LANE_OF, Kind

RUN_TASK = "jobs.run"


def tell_a_worker(*, job_id: uuid.UUID, kind: Kind) -> None:
    """After the commit. The message is a hint: without it the relay sends another."""
    enqueue.on_commit(RUN_TASK, str(job_id), queue=LANE_OF[kind].queue)
