"""Deletes old events and the log of their deliveries."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from apps.webhooks.models import Endpoint

_BATCH = 1000

_OLD = "SELECT id FROM webhooks_outboxevent WHERE created_at < %s ORDER BY created_at LIMIT %s FOR UPDATE SKIP LOCKED"
# In this order: the foreign keys do not cascade in the database.
_PURGE = (
    "UPDATE webhooks_endpoint SET status = 'deleted', disabled_at = now(), notified_at = now()"
    " WHERE job_id IS NOT NULL AND status = 'active'"
    " AND id IN (SELECT endpoint_id FROM webhooks_delivery WHERE event_id = ANY(%s))",
    "DELETE FROM webhooks_attempt WHERE delivery_id IN (SELECT id FROM webhooks_delivery WHERE event_id = ANY(%s))",
    "DELETE FROM webhooks_delivery WHERE event_id = ANY(%s)",
    "DELETE FROM webhooks_outboxevent WHERE id = ANY(%s)",
)


def purge(*, now: datetime | None = None) -> int:
    """Deletes events older than WEBHOOK_LOG_DAYS, in batches. Returns how many."""
    before = (now or timezone.now()) - timedelta(days=settings.WEBHOOK_LOG_DAYS)
    removed = 0
    while batch := _purge_some(before):
        removed += batch
    # Their deliveries belong to older events, which are deleted already.
    Endpoint.objects.filter(status=Endpoint.Status.DELETED, disabled_at__lt=before).delete()
    return removed


@transaction.atomic
def _purge_some(before: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_OLD, [before, _BATCH])
        ids = [row[0] for row in cursor.fetchall()]
        for statement in _PURGE if ids else ():
            cursor.execute(statement, [ids])
    return len(ids)
