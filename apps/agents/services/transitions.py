"""Changes an agent's status. No other module does."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any

from django.conf import settings
from django.db import connection

from apps.agents import agent_urls
from apps.agents.lifecycle import Status, may_follow
from apps.agents.models import Agent
from apps.core.prepared import Prepared
from apps.core.times import rfc3339
from apps.webhooks.services import record_event

_FIELDS = {field.column: field for field in Agent._meta.concrete_fields}


def move(agent: Agent, *, to: Status, **changes: Any) -> bool:
    """Changes the status by compare-and-set, and records the event, in the caller's transaction.

    Returns False, and changes nothing, if the row no longer has the status of `agent`. On success `agent` is updated.
    """
    current: Status = agent.status  # type: ignore[assignment]  # the column has the Literal's values
    if not may_follow(current, to):
        raise ValueError(f"an agent can't change from {current} to {to}")
    if not connection.in_atomic_block:
        raise RuntimeError("a status change needs a transaction, together with its event and its charge")
    changes = {"status": to, **changes}
    values = [_FIELDS[name].get_db_prep_save(value, connection) for name, value in changes.items()]
    with connection.cursor() as cursor:
        _update(tuple(changes)).execute(cursor, [*values, agent.id, current])
        if cursor.rowcount != 1:
            return False
    for name, value in changes.items():
        setattr(agent, name, value)
    record_event(workspace_id=agent.workspace_id, type=_EVENT_TYPES[to], data=_event_data(agent, to))
    return True


@cache
def _update(columns: tuple[str, ...]) -> Prepared:
    changes = ", ".join(f"{column} = %s" for column in columns)
    return Prepared("move_agent", f"UPDATE agents_agent SET {changes} WHERE id = %s AND status = %s")  # noqa: S608


_EVENT_TYPES: dict[Status, str] = {
    "running": "agent.provisioned",
    "destroyed": "agent.destroyed",
    "failed": "agent.failed",
}


def _event_data(agent: Agent, to: Status) -> dict[str, Any]:
    """The event data, as the specification's event catalogue defines it."""
    if to == "running":
        cdp = agent_urls.cdp_urls(settings.PUBLIC_CDP_URL, profile=agent.profile, page_id=agent.page_id)
        return {
            "agent_id": agent.id,
            "mode": agent.mode,
            "profile_id": agent.profile_id,
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
