"""Ends jobs. The last event, the settlement of the hold and the webhook event are one transaction."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.billing import services as billing
from apps.core.errors import JobTerminal, NotFound
from apps.jobs import results
from apps.jobs.kinds import BULK
from apps.jobs.lifecycle import TERMINAL, EventType
from apps.jobs.models import Job
from apps.jobs.services import event_log
from apps.jobs.services.claims import Claim, lock_claimed
from apps.jobs.services.event_log import NewEvent
from apps.jobs.services.progress import PageRecord, insert_page
from apps.webhooks.services import record_end_of_job

MAX_RESULT_BYTES = 256 * 1024
MAX_MESSAGE = 2000

_CANCELLED = {"error_code": "CANCELLED", "error_message": "The job was cancelled."}

# Kind -> what else ends with a job of that kind, in the transaction that ends it. An app's `ready` registers it.
END_HOOKS: dict[str, Callable[[Job], None]] = {}


@transaction.atomic(savepoint=False)  # an error also rolls back what the caller wrote
def complete(
    claim: Claim,
    *,
    used: int | None = None,
    result: dict[str, Any] | None = None,
    page: PageRecord | None = None,
    agent_id: str = "",
) -> Job:
    """Ends a job as completed. `used` is its price in credits; by default the sum of its pages and steps. `page` and
    the agent that loaded it, if given, are recorded in the same transaction. Raises ClaimLost, and ValueError for a
    result too large for an event: pages are stored in rows of their own, and `results` builds the result from them.
    """
    if result is not None and len(json.dumps(result)) > MAX_RESULT_BYTES:
        raise ValueError(f"a result of more than {MAX_RESULT_BYTES} bytes must be stored as pages")
    job = lock_claimed(claim)
    return _end(job, "completed", used, {"result": result}, before=_page_events(job, page, agent_id))


@transaction.atomic(savepoint=False)  # an error also rolls back what the caller wrote
def fail(
    claim: Claim,
    *,
    code: str,
    message: str,
    used: int | None = 0,
    page: PageRecord | None = None,
    result: dict[str, Any] | None = None,
    agent_id: str = "",
) -> Job:
    """Ends a job as failed. `used` is its price in credits; None means the sum of its pages and steps. `result` is what
    was done before the failure. Raises ClaimLost.
    """
    job = lock_claimed(claim)
    before = _page_events(job, page, agent_id)
    return end_failed(job, code=code, message=message, used=used, result=result, before=before)


@transaction.atomic
def end_cancelled(claim: Claim, *, used: int | None = None) -> Job:
    """Ends a job whose executor stopped because its owner cancelled it. Finished work is charged. Raises ClaimLost."""
    return _end(lock_claimed(claim), "cancelled", used, _CANCELLED)


@transaction.atomic
def cancel(*, workspace_id: uuid.UUID, job_id: uuid.UUID) -> Job:
    """Cancels a job that does not run at once, and asks the executor of a running one to stop. A second call changes
    nothing. Raises NotFound, or JobTerminal.
    """
    try:
        job = event_log.lock(job_id)
    except Job.DoesNotExist:
        raise NotFound("There is no such job in this workspace.") from None
    if job.workspace_id != workspace_id:
        raise NotFound("There is no such job in this workspace.")
    if job.status in TERMINAL:
        raise JobTerminal(f"The job is already {job.status}.")
    if job.status != Job.Status.RUNNING:
        return _end(job, "cancelled", None, _CANCELLED)
    if job.cancel_requested_at is None:
        event_log.append(job, NewEvent("cancel_requested"))
    return job


def end_failed(
    job: Job,
    *,
    code: str,
    message: str,
    used: int | None,
    result: dict[str, Any] | None = None,
    now: datetime | None = None,
    before: Sequence[NewEvent] = (),
) -> Job:
    """Ends a locked job without a valid claim as failed."""
    data: dict[str, Any] = {"error_code": code, "error_message": message[:MAX_MESSAGE]}
    return _end(job, "failed", used, data if result is None else {**data, "result": result}, now, before)


def end_abandoned(job: Job, *, now: datetime) -> Job:
    """Ends a locked job that was cancelled while its executor was gone."""
    return _end(job, "cancelled", None, _CANCELLED, now)


def _page_events(job: Job, page: PageRecord | None, agent_id: str) -> list[NewEvent]:
    """The events of the agent and of the page that are recorded together with the end of a locked job."""
    events = [NewEvent("attached", {"agent_id": agent_id})] if agent_id else []
    if page is not None and (stored := insert_page(job, page)) is not None:
        events.append(stored)
    return events


def _end(
    job: Job,
    event: EventType,
    used: int | None,
    data: dict[str, Any],
    now: datetime | None = None,
    before: Sequence[NewEvent] = (),
) -> Job:
    """Appends the events `before` and the last one, and settles the hold."""
    if used is None:
        used = job.credits_used + sum(new.data.get("credits", 0) for new in before)
    end = NewEvent(event, {"credits_charged": used, **data})
    event_log.append(job, *before, end, now=now or timezone.now(), claim_until=None)
    billing.settle(
        workspace_id=job.workspace_id,
        reference=job.hold_reference,
        used=used,
        description=_description(job, event),
    )
    if (hook := END_HOOKS.get(job.kind)) is not None:
        hook(job)
    if not job.sync:
        # The catalogue has no event of its own for a cancellation: it is a failure with the code CANCELLED.
        event_type = "job.completed" if event == "completed" else "job.failed"
        record_end_of_job(workspace_id=job.workspace_id, job_id=job.id, type=event_type, data=_event_data(job))
    return job


def _description(job: Job, event: EventType) -> str:
    """The ledger's description: `Task, 7 steps`, `Batch, 12 pages, cancelled`, `Scrape, failed`."""
    parts = [job.kind.capitalize()]
    if job.kind == Job.Kind.TASK:
        parts.append(f"{job.step_count} step{'' if job.step_count == 1 else 's'}")
    elif job.kind in BULK:
        parts.append(f"{job.progress_done} page{'' if job.progress_done == 1 else 's'}")
    return ", ".join(parts if event == "completed" else [*parts, event])


def _event_data(job: Job) -> dict[str, Any]:
    """The shapes of the seed's event catalogue."""
    if job.status != Job.Status.COMPLETED:
        return {
            "job_id": str(job.id),
            "kind": job.kind,
            "error_code": job.error_code,
            "error_message": job.error_message,
        }
    return {
        "job_id": str(job.id),
        "kind": job.kind,
        "progress_done": job.progress_done,
        "progress_total": job.progress_total,
        "credits_charged": job.credits_charged,
        "result": results.for_event(job),
    }
