"""Rebuilds the response to an agent request with an Idempotency-Key from the agent's current state."""

from __future__ import annotations

from http import HTTPStatus

from rest_framework.renderers import JSONRenderer

from apps.agents import serializers
from apps.agents.models import Agent
from apps.core import errors, request_ids
from apps.core.idempotency import Answer, Unsettled

_FAILURES = {kind.code: kind for kind in (errors.UpstreamUnavailable, errors.UpstreamTimeout)}


def outcome(agent_id: str) -> Answer | Unsettled:
    """A resolver for `apps.core.idempotency`. `settle_stuck` fails a queued agent whose process crashed."""
    agent = Agent.objects.filter(id=agent_id).first()
    if agent is None:
        return Unsettled.NOTHING_BEGAN
    if agent.status == Agent.Status.QUEUED:
        return Unsettled.RUNNING
    if agent.status == Agent.Status.FAILED:
        return _refusal(_FAILURES.get(agent.error_code, errors.InternalError)(agent.error_message))
    if agent.started_at is None:
        return _refusal(errors.AgentNotRunning("The agent was destroyed before it ran."))
    return _answer(HTTPStatus.CREATED, serializers.agent_body(agent))


def _refusal(error: errors.ApiError) -> Answer:
    return _answer(error.status, errors.envelope(error, request_id=request_ids.current()))


def _answer(status: int, body: object) -> Answer:
    return Answer(int(status), {"Content-Type": "application/json"}, JSONRenderer().render(body))
