"""Burners of tasks. The job pays for its burner, which ends with the job.

The worker calls `admit`, asks the runner for the lease (which may take long), and calls `provisioning.mark_running`.
Another worker may repeat these calls: a job has one browser at a time.
"""

from __future__ import annotations

import uuid

from django.db import transaction
from django.utils import timezone

from apps.agents import selectors
from apps.agents.control_client import RunnerClient
from apps.agents.lifecycle import LIVE
from apps.agents.models import Agent
from apps.agents.services import provisioning, termination
from apps.agents.services.provisioning import ProvisionRequest
from apps.billing.pricing import BurnerRate
from apps.core.ids import new_agent_id
from apps.core.times import from_unix

_FREE = BurnerRate(per_period=0, surcharge=0)


@transaction.atomic
def admit(*, workspace_id: uuid.UUID, job_id: uuid.UUID, request: ProvisionRequest) -> Agent:
    """The job's live agent, or a new queued one that needs a lease."""
    before = selectors.of_job(job_id=job_id)
    if before and before[0].status in LIVE:
        return before[0]
    return provisioning.create(
        new_agent_id(), workspace_id, request, rate=_FREE, job_id=job_id, hold_reference="", cost_credits=0
    )


def extend(*, agent: Agent, seconds: int, runner: RunnerClient) -> bool:
    """Extends a browser to at least `seconds` from now. False if it has ended. Raises UpstreamUnavailable."""
    granted = runner.extend(agent.id, seconds=seconds)
    if granted is None:
        return False
    agent.expires_at = from_unix(granted.expires_at)
    still = Agent.objects.filter(id=agent.id, status=Agent.Status.RUNNING)
    return still.update(expires_at=agent.expires_at) == 1


def end_of_job(*, job_id: uuid.UUID) -> list[str]:
    """Ends the job's browsers, in the transaction that ends the job. Returns the ids of the ended leases.

    The caller may release them. Otherwise the next reconciliation does.
    """
    now = timezone.now()
    live = [agent for agent in selectors.of_job(job_id=job_id) if agent.status in LIVE]
    return [agent.id for agent in live if termination.end(agent=agent, reason="finished", at=now)]
