"""The types of events that a webhook can receive: the specification's catalogue. Pure."""

from __future__ import annotations

TEST = "webhook.test"

TYPES: tuple[str, ...] = (
    "agent.provisioned",
    "agent.destroyed",
    "agent.failed",
    "agent.session.started",
    "agent.session.ended",
    "agent.renewed",
    "agent.renewal_failed",
    "job.completed",
    "job.failed",
    "job.input_required",
    TEST,
)
