"""Writes to the outbox."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.webhooks.models import OutboxEvent


def record_event(*, workspace_id: uuid.UUID, type: str, data: dict[str, Any]) -> OutboxEvent:
    """Appends an event. Must be called inside the transaction that causes it: both happen or neither does."""
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("an event belongs to the transaction that causes it")
    return OutboxEvent.objects.create(workspace_id=workspace_id, type=type, data=data, created_at=timezone.now())
