"""The outbox: appends an event with its deliveries in one statement, and wakes the deliverers."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.utils import timezone

from apps.core.hints import publish_on_commit
from apps.core.ids import new_event_id
from apps.core.prepared import Prepared
from apps.webhooks.models import TEST_EVENT, Endpoint, OutboxEvent

HINT_CHANNEL = "browsa:webhooks"

# The ids of an endpoint and of its workspace.
EndpointRef = tuple[uuid.UUID, uuid.UUID]

# Every call that starts or ends an agent runs this: one round trip, and one index lookup when there is no endpoint.
_RECORD = """
WITH event AS (
    INSERT INTO webhooks_outboxevent (id, type, workspace_id, data, created_at) VALUES (%s, %s, %s, %s, %s)
    RETURNING id, type, workspace_id, created_at
)
INSERT INTO webhooks_delivery
    (id, event_id, endpoint_id, status, attempts, round_began, due_at, claim, created_at)
SELECT gen_random_uuid(), event.id, endpoint.id, 'pending', 0, 0, event.created_at, NULL, event.created_at
FROM event JOIN webhooks_endpoint endpoint ON endpoint.workspace_id = event.workspace_id
WHERE endpoint.status = 'active' AND {wants}
RETURNING endpoint_id, id
"""
_SUBSCRIBED = "job_id IS NULL AND (events = '{}' OR event.type = ANY(events))"
_RECORD_FOR_ALL = Prepared("record_event", _RECORD.format(wants=_SUBSCRIBED))
_RECORD_END_OF_JOB = Prepared("record_end_of_job", _RECORD.format(wants=f"(job_id = %s OR {_SUBSCRIBED})"))
_RECORD_FOR_ONE = Prepared("record_test_event", _RECORD.format(wants="endpoint.id = %s"))


def record_event(*, workspace_id: uuid.UUID, type: str, data: dict[str, Any]) -> OutboxEvent:
    """Appends an event. Raises RuntimeError outside of a transaction: it must commit together with its cause."""
    event, _ = _record(_RECORD_FOR_ALL, workspace_id, type, data)
    return event


def record_end_of_job(*, workspace_id: uuid.UUID, job_id: uuid.UUID, type: str, data: dict[str, Any]) -> OutboxEvent:
    """Appends the last event of a job, also for the job's `webhook_url`. Raises RuntimeError as `record_event` does."""
    event, _ = _record(_RECORD_END_OF_JOB, workspace_id, type, data, job_id)
    return event


def record_test_event(endpoint: Endpoint) -> tuple[OutboxEvent, uuid.UUID | None]:
    """Appends `webhook.test` for this endpoint alone. Returns it with the delivery's id; None if it is not active."""
    data = {"message": "This is a test event. Your webhook works if you can verify its signature."}
    event, deliveries = _record(_RECORD_FOR_ONE, endpoint.workspace_id, TEST_EVENT, data, endpoint.id)
    return event, deliveries.get(endpoint.id)


def _record(
    statement: Prepared, workspace_id: uuid.UUID, type: str, data: dict[str, Any], *more: uuid.UUID
) -> tuple[OutboxEvent, dict[uuid.UUID, uuid.UUID]]:
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("an event belongs to the transaction that causes it")
    event = OutboxEvent(id=new_event_id(), type=type, workspace_id=workspace_id, data=data, created_at=timezone.now())
    values = [event.id, type, workspace_id, json.dumps(data, cls=DjangoJSONEncoder), event.created_at, *more]
    with connection.cursor() as cursor:
        statement.execute(cursor, values)
        deliveries = dict(cursor.fetchall())
    notify_deliverers(workspace_id, deliveries)
    return event, deliveries


def notify_deliverers(workspace_id: uuid.UUID, endpoint_ids: Iterable[uuid.UUID]) -> None:
    """Publishes after the commit which endpoints have due deliveries. Without Redis, deliverers poll every second."""
    named = " ".join(str(endpoint_id) for endpoint_id in endpoint_ids)
    if named:
        publish_on_commit(HINT_CHANNEL, f"{workspace_id} {named}")


def parse_hint(message: bytes) -> Iterator[EndpointRef]:
    """The endpoints that a hint names; none if the hint is malformed."""
    with suppress(ValueError):
        workspace_id, *endpoint_ids = (uuid.UUID(part) for part in message.decode("ascii").split())
        for endpoint_id in endpoint_ids:
            yield endpoint_id, workspace_id
