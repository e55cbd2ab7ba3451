"""Writes of tasks: creation, resumption, steps, questions to a human and their answers."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from apps.agents import selectors as agent_selectors
from apps.agents.models import Agent
from apps.agents.services.task_browsers import end_of_job
from apps.billing import selectors as billing_selectors
from apps.billing.models import Hold
from apps.billing.pricing import step_cost, task_maximum
from apps.core import sealing
from apps.core.errors import JobNotWaiting, NotFound, ValidationFailed
from apps.core.times import rfc3339
from apps.jobs.models import Job, StepScreenshot, TaskRun
from apps.jobs.services import creation, event_log, progress
from apps.jobs.services.claims import Claim, ClaimLost, lock_claimed
from apps.jobs.services.enqueue_job import enqueue_job
from apps.jobs.services.event_log import NewEvent
from apps.jobs.tasks.llm import keys
from apps.webhooks.services import record_event, register_for_job

# Only the worker with the latest claim may act in the browser.
_BEGIN_STEP = """
    UPDATE jobs_taskrun run SET acting_step = %s FROM jobs_job job
    WHERE run.job_id = %s AND job.id = run.job_id AND job.status = 'running' AND job.fence = %s AND job.owner = %s
"""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A completed step: its event, the agent's state after the step, and a screenshot of the page before it."""

    number: int
    event: dict[str, Any]
    state: bytes
    screenshot: bytes | None = None


def begin(
    *,
    workspace_id: uuid.UUID,
    params: dict[str, Any],
    key: str,
    metadata: dict[str, Any] | None = None,
    profile_id: str = "",
    webhook_url: str = "",
) -> Job:
    """Creates a queued task and stores its key. `profile_id` names the agent as `agent_id` in `params` does.
    `webhook_url` receives the task's last event.

    Raises InsufficientCredit, NotReady, ValidationFailed when the two name different agents, and NotFound or
    AgentNotRunning for the agent.
    """
    job_id = uuid.uuid4()
    if profile_id:
        params = _with_agent(params, agent_selectors.agent_of_profile(workspace_id=workspace_id, profile_id=profile_id))
    agent_id = params.get("agent_id", "")
    if agent_id:
        agent_selectors.running_agent(workspace_id=workspace_id, agent_id=agent_id)
    keys.put(job_id=job_id, key=key)
    try:
        with transaction.atomic():
            price = billing_selectors.price("task_per_3_steps")
            # The caller's own agent has paid for its country.
            abroad = not agent_id and params.get("country", settings.DEFAULT_COUNTRY) != settings.DEFAULT_COUNTRY
            surcharge = billing_selectors.price("country_surcharge") if abroad else 0
            job = creation.create_job(
                job_id=job_id,
                workspace_id=workspace_id,
                kind="task",
                framework="browser-use",
                params=params,
                metadata=metadata,
                agent_id=agent_id,
                hold=task_maximum(price, max_steps=params["max_steps"], surcharge=surcharge),
                progress_total=params["max_steps"],
            )
            TaskRun.objects.create(job=job, credits_per_3_steps=price, surcharge_credits=surcharge)
            if webhook_url:
                register_for_job(workspace_id=workspace_id, job_id=job.id, url=webhook_url)
            return job
    except BaseException:
        keys.forget(job_id=job_id)
        raise


def _with_agent(params: dict[str, Any], named: Agent) -> dict[str, Any]:
    if params.get("agent_id", named.id) != named.id:
        raise ValidationFailed({"profile_id": ["is not that of the agent in agent_id"]})
    return {**params, "agent_id": named.id}


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """The state of a task when a worker starts or resumes it. `hold_open`: its credits are still held."""

    deadline_at: datetime
    acting_step: int
    state: bytes | None
    human_answer: str | None
    hold_open: bool


@transaction.atomic
def resume(claim: Claim, *, wallclock: timedelta, now: datetime | None = None) -> ResumePoint:
    """Starts or resumes the task, and its clock. Raises ClaimLost, and sealing.Unreadable."""
    job = lock_claimed(claim)
    run = TaskRun.objects.select_for_update().get(job_id=job.id)
    now = now or timezone.now()
    if run.deadline_at is None:
        left = wallclock if run.seconds_left is None else timedelta(seconds=run.seconds_left)
        run.deadline_at, run.seconds_left = now + left, None
        run.save(update_fields=["deadline_at", "seconds_left"])
    held = Hold.objects.filter(workspace_id=job.workspace_id, reference=job.hold_reference).first()
    answer = _unsealed(run.sealed_answer, _answer_context(job.id))
    return ResumePoint(
        deadline_at=run.deadline_at,
        acting_step=run.acting_step,
        state=_unsealed(run.sealed_state, _state_context(job.id)),
        human_answer=None if answer is None else answer.decode(),
        hold_open=held is not None and held.status == Hold.Status.OPEN,
    )


@transaction.atomic
def attach(claim: Claim, *, agent_id: str, live_url: str) -> None:
    """Records the browser that the task runs in, and charges its country, once. Raises ClaimLost."""
    run = TaskRun.objects.select_for_update().get(job_id=lock_claimed(claim).id)
    progress.attach(claim, agent_id=agent_id, live_url=live_url, credits=run.surcharge_credits)
    TaskRun.objects.filter(job_id=run.job_id).update(surcharge_credits=0)


def begin_step(claim: Claim, *, number: int) -> None:
    """Records that a step is about to act in the browser. Raises ClaimLost: then the step must not act."""
    with connection.cursor() as cursor:
        cursor.execute(_BEGIN_STEP, [number, claim.job_id, claim.fence, claim.owner])
        if cursor.rowcount != 1:
            raise ClaimLost(f"job {claim.job_id}, fence {claim.fence}: not the current claim")


@transaction.atomic
def record_step(claim: Claim, step: StepRecord) -> None:
    """Records a completed step. Raises ClaimLost."""
    _record_step(lock_claimed(claim), step)


@transaction.atomic
def ask(claim: Claim, step: StepRecord, *, question: str, now: datetime | None = None) -> datetime:
    """Records the step that asks a human, and stops the task's clock: the task has no worker until the answer.

    Returns the time at which the question expires. Raises ClaimLost.
    """
    now = now or timezone.now()
    job = lock_claimed(claim)
    expires_at = now + timedelta(seconds=settings.INPUT_WAIT_SECONDS)
    request = {"question": question, "asked_at": rfc3339(now), "expires_at": rfc3339(expires_at)}
    run = _record_step(job, step, NewEvent("input_requested", request), claim_until=None, enqueued_at=None)
    assert run.deadline_at is not None
    run.seconds_left = max(0.0, (run.deadline_at - now).total_seconds())
    run.deadline_at = None
    run.save(update_fields=["deadline_at", "seconds_left"])
    record_event(
        workspace_id=job.workspace_id,
        type="job.input_required",
        data={"job_id": str(job.id), "kind": job.kind, "live_url": job.live_url or None, "input_request": request},
    )
    return expires_at


@transaction.atomic
def respond(*, workspace_id: uuid.UUID, job_id: uuid.UUID, response: str, now: datetime | None = None) -> None:
    """Stores a human's answer and queues the task again. Raises NotFound, or JobNotWaiting.

    The answer is sealed until the agent has read it. The event does not contain it.
    """
    now = now or timezone.now()
    try:
        job = event_log.lock(job_id)
    except Job.DoesNotExist:
        raise NotFound("There is no such job in this workspace.") from None
    if job.workspace_id != workspace_id:
        raise NotFound("There is no such job in this workspace.")
    if job.status != Job.Status.INPUT_REQUIRED:
        raise JobNotWaiting(f"The job is not waiting for an answer: it is {job.status}.")
    sealed = sealing.seal(response.encode(), context=_answer_context(job.id))
    TaskRun.objects.filter(job_id=job.id).update(sealed_answer=sealed)
    event_log.append(job, NewEvent("input_responded"), now=now, enqueued_at=now)
    enqueue_job(job_id=job.id, kind="task")


def end_hook(job: Job) -> None:
    """When a task ends: ends the burner of the task, and deletes its saved state and its model key."""
    end_of_job(job_id=job.id)
    TaskRun.objects.filter(job_id=job.id).delete()
    transaction.on_commit(lambda: keys.forget(job_id=job.id))


def _record_step(job: Job, step: StepRecord, *more: NewEvent, **columns: Any) -> TaskRun:
    if step.number != job.step_count + 1:
        raise ValueError(f"step {step.number} follows step {job.step_count}")
    run = TaskRun.objects.get(job_id=job.id)
    credits = step_cost(run.credits_per_3_steps, number=step.number)
    happened = NewEvent("step", {"number": step.number, "credits": credits, **step.event})
    event_log.append(job, happened, *more, **columns)
    run.sealed_state = sealing.seal(step.state, context=_state_context(job.id))
    run.sealed_answer = None
    run.save(update_fields=["sealed_state", "sealed_answer"])
    if step.screenshot is not None:
        StepScreenshot.objects.create(job=job, step=step.number, png=step.screenshot, created_at=timezone.now())
    return run


def _unsealed(sealed: bytes | memoryview | None, context: str) -> bytes | None:
    return None if sealed is None else sealing.unseal(bytes(sealed), context=context)


def _state_context(job_id: uuid.UUID) -> str:
    return f"agent of job {job_id}"


def _answer_context(job_id: uuid.UUID) -> str:
    return f"answer to job {job_id}"
