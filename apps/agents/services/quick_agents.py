"""Agents of quick pages: the identity under which one page was loaded, kept so that it can be looked at afterwards.

Such an agent is born with the page's end, in the status in which it stays: nobody could attach to it, so there is
nothing to see of it before, and nothing for the sweeps to end. It costs what the page costs, which its job pays.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.utils import timezone

from apps.agents import identity, trust
from apps.core.ids import AGENT_PREFIX
from apps.core.prepared import Prepared

# What is the same for all of them, in SQL. Columns that are not named are empty: the database has defaults for them.
_CONSTANTS = {
    "quick": "true",
    "mode": "'burner'",
    # Only these are required of other agents: there a forgotten price must be an error.
    "ttl_seconds": "0",
    "period_credits": "0",
    "surcharge_credits": "0",
    "hold_reference": "''",
}


@dataclass(frozen=True, slots=True)
class QuickAgent:
    """`error_code` is empty for a page that was read."""

    id: str
    url: str
    os_type: str
    country: str
    cost_credits: int
    started_at: datetime
    error_code: str = ""
    error_message: str = ""

    @property
    def trust_score(self) -> int:
        return trust.assess(trust.quick_facts(proxied=identity.proxied(self.country))).score


def agent_id(job_id: uuid.UUID, position: int) -> str:
    """The same for the same page of a job, whoever loads it: a page that is done again makes no second agent."""
    return AGENT_PREFIX + hashlib.sha256(f"{job_id}:{position}".encode()).hexdigest()[:20]


_VARY = (
    *("id", "workspace_id", "status", "initial_url", "country", "os_type", "trust_score", "cost_credits"),
    *("created_at", "started_at", "destroyed_at", "end_reason", "error_code", "error_message"),
)
_COLUMNS = (*_VARY, *_CONSTANTS)
_ROW = f"({', '.join([*['%s'] * len(_VARY), *_CONSTANTS.values()])})"
# Each page adds one. Written out it costs a fifth of what the ORM takes.
_INSERT = f"INSERT INTO agents_agent ({', '.join(_COLUMNS)}) VALUES {{rows}} ON CONFLICT (id) DO NOTHING"  # noqa: S608  constants only
_INSERT_ONE = Prepared("insert_agent", _INSERT.format(rows=_ROW))


def record(*, workspace_id: uuid.UUID, agents: Iterable[QuickAgent], now: datetime | None = None) -> None:
    """Adds the agents of finished pages; those that are there already stay as they are."""
    ended = now or timezone.now()
    rows = [_row(workspace_id, agent, ended) for agent in agents]
    if not rows:
        return
    values = [row[name] for row in rows for name in _VARY]
    with connection.cursor() as cursor:
        if len(rows) == 1:
            _INSERT_ONE.execute(cursor, values)
        else:
            cursor.execute(_INSERT.format(rows=", ".join([_ROW] * len(rows))), values)


def _row(workspace_id: uuid.UUID, agent: QuickAgent, ended: datetime) -> dict[str, Any]:
    failed = bool(agent.error_code)
    return {
        "id": agent.id,
        "workspace_id": workspace_id,
        "status": "failed" if failed else "destroyed",
        "initial_url": agent.url,
        "country": agent.country,
        "os_type": agent.os_type,
        "trust_score": agent.trust_score,
        "cost_credits": agent.cost_credits,
        "created_at": agent.started_at,
        "started_at": None if failed else agent.started_at,
        "destroyed_at": None if failed else ended,
        "end_reason": "" if failed else "finished",
        "error_code": agent.error_code,
        "error_message": agent.error_message[:500],
    }
