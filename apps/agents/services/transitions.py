"""The one place that changes an agent's status."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction

from apps.agents import agent_urls
from apps.agents.lifecycle import Status, may_follow
from apps.agents.models import Agent
from apps.core.times import rfc3339
from apps.webhooks.services import record_event


def move(agent: Agent, *, to: Status, **changes: Any) -> bool:
    """Compare-and-set: from the status that `agent` was read with to `to`, with its event, in the caller's transaction.

    Returns False, and changes nothing, when another has moved the agent first. On success `agent` shows the new row.
    """
    current: Status = agent.status  # type: ignore[assignment]  # the column's choices are the Literal's values
    if not may_follow(current, to):
        raise ValueError(f"an agent can't go from {current} to {to}")
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("a status moves in a transaction, together with its event and its money")
    if Agent.objects.filter(id=agent.id, status=current).update(status=to, **changes) != 1:
        return False
    for name, value in {"status": to, **changes}.items():
        setattr(agent, name, value)
    record_event(workspace_id=agent.workspace_id, type=_EVENT_TYPES[to], data=_event_data(agent, to))
    return True


_EVENT_TYPES: dict[Status, str] = {
    "running": "agent.provisioned",
    "destroyed": "agent.destroyed",
    "failed": "agent.failed",
}


def _event_data(agent: Agent, to: Status) -> dict[str, Any]:
    """The shapes of the seed's event catalogue."""
    if to == "running":
        cdp = agent_urls.cdp_urls(settings.PUBLIC_CDP_URL, profile=agent.profile, page_id=agent.page_id)
        return {
            "agent_id": agent.id,
            "mode": agent.mode,
            "profile_id": agent.profile,
            "trust_score": agent.trust_score,
            "expires_at": _time(agent.expires_at),
            "cost_credits": agent.cost_credits,
            "cdp_url": cdp.cdp_url,
            "live_url": agent_urls.live_url(settings.PUBLIC_URL, agent.live_view),
        }
    if to == "destroyed":
        return {
            "agent_id": agent.id,
            "mode": agent.mode,
            "destroyed_at": _time(agent.destroyed_at),
            "reason": agent.end_reason,
        }
    return {"agent_id": agent.id, "error_code": agent.error_code, "error_message": agent.error_message}


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)
