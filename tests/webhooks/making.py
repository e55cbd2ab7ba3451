"""Short ways to events, endpoints and what became of them."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from apps.webhooks.models import Delivery, Endpoint
from apps.webhooks.services import record_event
from apps.webhooks.services.endpoints import register
from tests.cast import Member


def listen(member: Member, url: str, *events: str) -> Endpoint:
    return register(workspace_id=member.workspace.id, url=url, events=events)


def happen(member: Member, *, type: str = "agent.failed", count: int = 1, **data: Any) -> list[str]:
    """Events in one transaction. Returns their ids."""
    with transaction.atomic():
        events = [
            record_event(workspace_id=member.workspace.id, type=type, data={"number": number, **data})
            for number in range(count)
        ]
    return [event.id for event in events]


def delivery(endpoint: Endpoint) -> Delivery:
    """The only one of an endpoint."""
    return Delivery.objects.get(endpoint=endpoint)
