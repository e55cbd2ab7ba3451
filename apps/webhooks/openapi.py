"""The events as OpenAPI 3.1 `webhooks`: one for each type, with the schema of its body and its headers.

`add_webhooks` is a postprocessing hook of drf-spectacular (`SPECTACULAR_SETTINGS`).
"""

from __future__ import annotations

from typing import Any

from apps.core.openapi import AGENT_ID, EVENT_ID_PATTERN, PROFILE_ID, UUID
from apps.webhooks.models import EVENT_TYPES

_TEXT: dict[str, Any] = {"type": "string"}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
_TIME: dict[str, Any] = {"type": "string", "format": "date-time"}
_MAYBE_TIME: dict[str, Any] = {"type": ["string", "null"], "format": "date-time"}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


_FAILURE = {"error_code": _TEXT, "error_message": _TEXT}

# The fields of `data` by event type; a name with `?` is optional.
_DATA: dict[str, dict[str, Any]] = {
    "agent.provisioned": {
        "agent_id": AGENT_ID,
        "mode": _ref("AgentMode"),
        "profile_id": PROFILE_ID,
        "trust_score": _COUNT,
        "expires_at": _MAYBE_TIME,
        "cost_credits": _COUNT,
        "cdp_url?": _TEXT,
        "live_url?": _TEXT,
    },
    "agent.destroyed": {
        "agent_id": AGENT_ID,
        "mode": _ref("AgentMode"),
        "destroyed_at": _MAYBE_TIME,
        "reason": _TEXT,
    },
    "agent.failed": {"agent_id": AGENT_ID, **_FAILURE},
    "agent.session.started": {
        "agent_id": AGENT_ID,
        "session_id": _TEXT,
        "cdp_url": _TEXT,
        "started_at": _TIME,
        "cost_credits": _COUNT,
    },
    "agent.session.ended": {"agent_id": AGENT_ID, "session_id": _TEXT, "ended_at": _TIME, "reason": _TEXT},
    "agent.renewed": {"agent_id": AGENT_ID, "renewal_credits": _COUNT, "next_renewal_at": _TIME},
    "agent.renewal_failed": {"agent_id": AGENT_ID, **_FAILURE},
    "job.completed": {
        "job_id": UUID,
        "kind": _ref("JobKind"),
        "progress_done": _COUNT,
        "progress_total": {"type": ["integer", "null"]},
        "credits_charged": _COUNT,
        "result": {"anyOf": [_ref("JobResult"), _ref("TruncatedResult"), {"type": "null"}]},
    },
    "job.failed": {"job_id": UUID, "kind": _ref("JobKind"), **_FAILURE},
    "job.input_required": {
        "job_id": UUID,
        "kind": _ref("JobKind"),
        "live_url": {"type": ["string", "null"]},
        "input_request": _ref("InputRequest"),
    },
    "webhook.test": {"message": _TEXT},
}
_TRUNCATED = {
    "type": "object",
    "description": "Stands for a result of more than 64 KiB.",
    "properties": {
        "truncated": {"type": "boolean", "const": True},
        "completed": _COUNT,
        "failed": _COUNT,
        "result_url": _TEXT,
    },
    "required": ["truncated", "completed", "failed", "result_url"],
}
_HEADERS = {
    "X-Agents-Signature": "Hex HMAC-SHA256 of the body, or `t=<unix>, v1=<hex>` for a `timestamped` webhook.",
    "webhook-id": "The event's id.",
    "webhook-timestamp": "Unix time of this attempt.",
    "webhook-signature": "The signature of Standard Webhooks: `v1,<base64>`, one for each valid secret.",
}


def add_webhooks(result: dict[str, Any], generator: object, request: object, public: bool) -> dict[str, Any]:
    schemas = result["components"]["schemas"]
    schemas["TruncatedResult"] = _TRUNCATED
    for event_type in EVENT_TYPES:
        schemas[event_model(event_type)] = _event(event_type)
    result["webhooks"] = {event_type: {"post": _receipt(event_type)} for event_type in EVENT_TYPES}
    return result


def event_model(event_type: str) -> str:
    """The component's name: `AgentSessionStartedEvent` for `agent.session.started`."""
    words = event_type.replace(".", "_").split("_")
    return "".join(word.capitalize() for word in words) + "Event"


def _event(event_type: str) -> dict[str, Any]:
    fields = _DATA[event_type]
    data = {
        "type": "object",
        "properties": {name.rstrip("?"): schema for name, schema in fields.items()},
        "required": [name for name in fields if not name.endswith("?")],
    }
    return {
        "type": "object",
        "properties": {
            "id": {"type": "string", "pattern": EVENT_ID_PATTERN, "description": "The same in every attempt."},
            "type": {"type": "string", "const": event_type},
            "created_at": _TIME,
            "workspace_id": UUID,
            "data": data,
        },
        "required": ["id", "type", "created_at", "workspace_id", "data"],
    }


def _receipt(event_type: str) -> dict[str, Any]:
    name = event_model(event_type)
    return {
        "operationId": f"receive_{event_type.replace('.', '_')}",
        "summary": f"Receives `{event_type}`",
        "tags": ["Webhook events"],
        "security": [],
        "parameters": [
            {"name": header, "in": "header", "required": True, "description": text, "schema": _TEXT}
            for header, text in _HEADERS.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(name)}}},
        "responses": {
            "2XX": {"description": "The event arrived. Any other answer is a failure, and the event is sent again."},
            "410": {"description": "Disables the webhook."},
        },
    }
