"""Ends agents: status, charges, and the release of the lease."""

from __future__ import annotations

import logging
import uuid
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from apps.agents import selectors
from apps.agents.control_client import RunnerClient
from apps.agents.lifecycle import OUR_FAULT, Reason
from apps.agents.models import Agent
from apps.agents.services import transitions
from apps.billing import services as billing
from apps.billing.pricing import burner_cost
from apps.core.errors import ApiError

log = logging.getLogger(__name__)


def destroy(*, workspace_id: uuid.UUID, agent_id: str, runner: RunnerClient) -> None:
    """Ends an agent at its owner's request. A repeated call changes nothing. Raises NotFound.

    If the runner is away, the agent still ends; the next reconciliation releases the lease.
    """
    agent = selectors.agent(workspace_id=workspace_id, agent_id=agent_id)
    now = timezone.now()
    if not end(agent=agent, reason="deleted", at=now):
        # The status changed after the read: to running, or the agent has ended.
        agent.refresh_from_db()
        end(agent=agent, reason="deleted", at=now)
    release_quietly(agent_id=agent_id, runner=runner)


@transaction.atomic
def end(*, agent: Agent, reason: Reason, at: datetime) -> bool:
    """Destroys a live agent and settles its hold. Returns False if it has ended, or its status has changed.

    `at` is when it stopped running, clamped between its start and now.
    """
    if agent.status not in (Agent.Status.QUEUED, Agent.Status.RUNNING):
        return False
    ended_at = min(max(at, agent.started_at or agent.created_at), timezone.now())
    cost = cost_of(agent, ended_at=ended_at, reason=reason)
    if not transitions.move(agent, to="destroyed", destroyed_at=ended_at, end_reason=reason, cost_credits=cost):
        return False
    _settle(agent, cost, f"Burner, {reason}")
    return True


def cost_of(agent: Agent, *, ended_at: datetime, reason: Reason) -> int:
    """The credits that an agent has cost at its end: 0 if it never ran, at most the hold.

    A persistent agent has no hold: it is billed by the month.
    """
    if not agent.hold_reference:
        return agent.cost_credits
    if agent.started_at is None:
        return 0
    ran = ended_at - agent.started_at
    return min(burner_cost(agent.rate, ran=ran, our_fault=reason in OUR_FAULT), agent.cost_credits)


@transaction.atomic
def fail(*, agent: Agent, error_code: str, error_message: str) -> bool:
    """Ends an agent that never ran. Nothing is charged. Returns False if its status has changed."""
    message = error_message[:500]
    if not transitions.move(agent, to="failed", error_code=error_code, error_message=message, cost_credits=0):
        return False
    _settle(agent, 0, "Burner, failed")
    return True


def _settle(agent: Agent, used: int, description: str) -> None:
    if not agent.hold_reference:
        return
    billing.settle(
        workspace_id=agent.workspace_id,
        reference=agent.hold_reference,
        used=used,
        description=description,
    )


def release_quietly(*, agent_id: str, runner: RunnerClient) -> None:
    """Asks the runner to end a lease. If the runner is away, the next reconciliation does it."""
    try:
        runner.release(agent_id)
    except ApiError as error:
        log.info("the runner could not release a lease", extra={"agent_id": agent_id, "cause": error.code})
