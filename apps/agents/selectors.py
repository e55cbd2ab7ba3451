"""Database reads for agents."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Count, Q
from django.utils import timezone

from apps.agents import harness_signal, identity, trust
from apps.agents.harness_signal import Signal
from apps.agents.lifecycle import LIVE
from apps.agents.models import Agent, AgentFingerprint, HarnessPage, HarnessVerdict
from apps.billing.hold_owners import WorkState
from apps.core.errors import AgentNotRunning, NotFound
from apps.core.ids import agent_id_of
from apps.core.pagination import CursorPage, CursorQuery, paginate
from apps.core.prepared import Prepared, PreparedRow

_AGENT = PreparedRow(Agent, "id = %s AND workspace_id = %s")
# The condition is that of the index `agent_live_by_workspace`. Tasks' burners do not count against the cap; the number
# of tasks has its own limit.
_BURNERS = Prepared(
    "count_burners",
    """
    SELECT max_burners, (
        SELECT count(*) FROM agents_agent
        WHERE workspace_id = workspace.id AND mode = 'burner' AND status IN ('queued', 'running') AND job_id IS NULL
    )
    FROM accounts_workspace workspace WHERE id = %s
""",
)


def agent(*, workspace_id: uuid.UUID, agent_id: str) -> Agent:
    """Raises NotFound, also for another workspace's agent."""
    found = _AGENT.first([agent_id, workspace_id])
    if found is None:
        raise NotFound("There is no such agent in this workspace.")
    return found


def running_agent(*, workspace_id: uuid.UUID, agent_id: str) -> Agent:
    """Raises NotFound, or AgentNotRunning."""
    found = agent(workspace_id=workspace_id, agent_id=agent_id)
    if found.status != Agent.Status.RUNNING:
        raise AgentNotRunning(f"The agent is not running: it is {found.status}.")
    return found


def agent_of_profile(*, workspace_id: uuid.UUID, profile_id: str) -> Agent:
    """The live agent with this `profile_id`. Raises NotFound."""
    live = Agent.objects.filter(workspace_id=workspace_id, status__in=LIVE, id=agent_id_of(profile_id))
    found = live.first()
    if found is None:
        raise NotFound("There is no running agent with this profile_id in this workspace.")
    return found


def fingerprint(*, workspace_id: uuid.UUID, agent_id: str) -> AgentFingerprint:
    """What the agent's browser showed when it was measured. Raises NotFound, or AgentNotRunning while it has none."""
    owner = agent(workspace_id=workspace_id, agent_id=agent_id)
    if owner.status == Agent.Status.QUEUED:
        raise AgentNotRunning("The agent has no browser yet.")
    found = AgentFingerprint.objects.filter(agent_id=owner.id).exclude(document={}).first()
    if found is None:
        raise NotFound("The browser of this agent was not measured.")
    found.agent = owner
    return found


def newest_verdicts(*, os_type: str, country: str, since: datetime) -> list[HarnessVerdict]:
    """All verdicts of the newest run of the detection harness on this shape, by site. Empty: none since then."""
    rows = HarnessVerdict.objects.filter(os_type=os_type, country=country, measured_at__gte=since)
    newest = rows.order_by("-measured_at").values_list("run_id", flat=True)[:1]
    return list(rows.filter(run_id=newest).order_by("id"))


def detection_signal(os_type: str, country: str, *, now: datetime | None = None) -> Signal | None:
    """That of the newest run on this shape; None without a verdict of the last 7 days."""
    since = (now or timezone.now()) - harness_signal.FRESH
    return harness_signal.signal_of(newest_verdicts(os_type=os_type, country=country, since=since))


def shapes_in_use(*, since: datetime) -> set[tuple[str, str]]:
    """OS type and country of the agents since then, without those of quick pages."""
    rows = Agent.objects.filter(quick=False, created_at__gte=since)
    return set(rows.values_list("os_type", "country").distinct())


def verdicts(*, since: datetime) -> list[HarnessVerdict]:
    """The oldest first."""
    return list(HarnessVerdict.objects.filter(measured_at__gte=since).order_by("measured_at", "id"))


def harness_pages() -> list[HarnessPage]:
    return list(HarnessPage.objects.filter(active=True))


def trust_inputs(owner: Agent) -> list[dict[str, Any]]:
    """The inputs of the agent's trust score; they sum to it."""
    stored = AgentFingerprint.objects.filter(agent_id=owner.id).values_list("trust_inputs", flat=True).first()
    if stored is not None:
        inputs: list[dict[str, Any]] = stored
        return inputs
    proxied = identity.proxied(owner.country)
    facts = trust.TrustFacts(proxied=proxied, warnings=tuple(owner.warnings))
    if owner.quick:
        facts = trust.quick_facts(proxied=proxied)
    return [one.to_dict() for one in trust.assess(facts).inputs]


def trust_score(*, agent_id: str) -> int:
    """0 if there is no such agent."""
    score: int | None = Agent.objects.filter(id=agent_id).values_list("trust_score", flat=True).first()
    return score or 0


def by_live_capability(*, capability: str) -> Agent | None:
    """The agent with this live view capability, also after its end. The capability alone grants access."""
    holding = Agent.objects.filter(Q(live_view=capability) | Q(live_control=capability))
    return next(iter(holding.order_by()[:1]), None)


def agents(
    *, workspace_id: uuid.UUID, mode: str | None, page: CursorQuery, with_quick: bool = False
) -> CursorPage[Agent]:
    """`with_quick`: include the agents of quick pages."""
    rows = Agent.objects.filter(workspace_id=workspace_id)
    if not with_quick:
        rows = rows.filter(quick=False)
    if mode is not None:
        rows = rows.filter(mode=mode)
    return paginate(rows, page, by=("created_at", "id"))


@dataclass(frozen=True, slots=True)
class BurnerCount:
    """The live burners of a workspace, and how many it may have at once."""

    live: int
    cap: int


def burner_count(*, workspace_id: uuid.UUID) -> BurnerCount:
    with connection.cursor() as cursor:
        _BURNERS.execute(cursor, [workspace_id])
        own_cap, live = cursor.fetchone()
    return BurnerCount(live, settings.MAX_BURNERS if own_cap is None else own_cap)


def expired(*, before: datetime) -> list[Agent]:
    return list(Agent.objects.filter(status=Agent.Status.RUNNING, expires_at__lt=before).order_by("expires_at"))


def stuck(*, before: datetime) -> list[Agent]:
    return list(Agent.objects.filter(status=Agent.Status.QUEUED, created_at__lt=before).order_by("created_at"))


def running_on(*, runner_id: str) -> list[Agent]:
    return list(Agent.objects.filter(status=Agent.Status.RUNNING, runner_id=runner_id))


def live_among(*, agent_ids: set[str]) -> set[str]:
    return set(Agent.objects.filter(id__in=agent_ids, status__in=LIVE).values_list("id", flat=True))


def running_among(*, agent_ids: set[str]) -> list[Agent]:
    return list(Agent.objects.filter(id__in=agent_ids, status=Agent.Status.RUNNING))


def live_by_mode() -> dict[tuple[str, str], int]:
    """How many agents are queued and running, by status and mode."""
    live = Agent.objects.filter(status__in=LIVE).values_list("status", "mode").annotate(count=Count("id")).order_by()
    return {(status, mode): count for status, mode, count in live}


def of_job(*, job_id: uuid.UUID) -> list[Agent]:
    """The agents of a task, the newest first."""
    return list(Agent.objects.filter(job_id=job_id).order_by("-created_at", "-id"))


def work_state(agent_id: str) -> WorkState:
    """Whether the agent that a hold pays for is still live. A resolver for `apps.billing.hold_owners`."""
    status = Agent.objects.filter(id=agent_id).values_list("status", flat=True).first()
    if status is None:
        return WorkState.UNKNOWN
    return WorkState.RUNNING if status in LIVE else WorkState.ENDED


def due_for_renewal(*, now: datetime) -> list[str]:
    """Ids of running agents whose next month has begun, the most overdue first."""
    due = Agent.objects.filter(status=Agent.Status.RUNNING, next_renewal_at__lte=now)
    return list(due.order_by("next_renewal_at").values_list("id", flat=True))
