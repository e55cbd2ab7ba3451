"""Rebuilds the response to an agent request with an Idempotency-Key from the agent's current state."""

from __future__ import annotations

from http import HTTPStatus

from rest_framework.renderers import JSONRenderer

from apps.agents import serializers
from apps.agents.models import Agent
from apps.core import errors, tracing
from apps.core.idempotency import StoredResponse, Unresolved

_FAILURES = {kind.code: kind for kind in (errors.UpstreamUnavailable, errors.UpstreamTimeout)}


def outcome(agent_id: str) -> StoredResponse | Unresolved:
    """A resolver for `apps.core.idempotency`. `settle_stuck` fails a queued agent whose process crashed."""
    agent = Agent.objects.filter(id=agent_id).first()
    if agent is None:
        return Unresolved.NOT_STARTED
    if agent.status == Agent.Status.QUEUED:
        return Unresolved.RUNNING
    if agent.status == Agent.Status.FAILED:
        return _refusal(_FAILURES.get(agent.error_code, errors.InternalError)(agent.error_message))
    if agent.started_at is None:
        return _refusal(errors.AgentNotRunning("The agent was destroyed before it ran."))
    return _answer(HTTPStatus.CREATED, serializers.agent_body(agent))


def _refusal(error: errors.ApiError) -> StoredResponse:
    return _answer(error.status, errors.envelope(error, request_id=tracing.request_id()))


def _answer(status: int, body: object) -> StoredResponse:
    return StoredResponse(int(status), {"Content-Type": "application/json"}, JSONRenderer().render(body))
