"""Helpers that make events and endpoints, and read deliveries."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from django.db import transaction

from apps.webhooks.models import Delivery, Endpoint
from apps.webhooks.services import record_end_of_job, record_event, register_for_job
from apps.webhooks.services.endpoints import register
from tests.cast import Member
from tests.patience import PATIENCE


def listen(member: Member, url: str, *events: str) -> Endpoint:
    return register(workspace_id=member.workspace.id, url=url, events=events)


def happen(member: Member, *, type: str = "agent.failed", count: int = 1, **data: Any) -> list[str]:
    """Events in one transaction. Returns their ids."""
    with transaction.atomic():
        events = [
            record_event(workspace_id=member.workspace.id, type=type, data={"number": number, **data})
            for number in range(count)
        ]
    return [event.id for event in events]


def delivery(endpoint: Endpoint) -> Delivery:
    """The only one of an endpoint."""
    return Delivery.objects.get(endpoint=endpoint)


def until(condition: Callable[[], object], *, seconds: float = PATIENCE) -> None:
    """Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("what was waited for did not happen")
        time.sleep(0.01)


def listen_for_job(member: Member, job_id: uuid.UUID, url: str) -> Endpoint:
    """A job's `webhook_url`."""
    register_for_job(workspace_id=member.workspace.id, job_id=job_id, url=url)
    return Endpoint.objects.get(job_id=job_id)


def end_job(member: Member, job_id: uuid.UUID) -> str:
    """The event of a job's end. Returns its id."""
    with transaction.atomic():
        data = {"job_id": str(job_id), "kind": "task", "error_code": "STALLED"}
        return record_end_of_job(workspace_id=member.workspace.id, job_id=job_id, type="job.failed", data=data).id
