"""Reads of webhooks."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from apps.core import sealing
from apps.core.errors import NotFound
from apps.core.pagination import CursorPage, CursorQuery, paginate
from apps.webhooks.models import Attempt, Delivery, Endpoint, SigningSecret

# How long a rotated secret still signs.
SECRET_GRACE = timedelta(hours=24)

# The next delivery of each endpoint, by a skip scan over the index: the cost depends on the number of endpoints, not on
# the number of deliveries.
_DUE = """
WITH RECURSIVE heads AS (
    (SELECT endpoint_id, due_at FROM webhooks_delivery WHERE status = 'pending' ORDER BY endpoint_id, due_at LIMIT 1)
    UNION ALL
    SELECT following.endpoint_id, following.due_at FROM heads CROSS JOIN LATERAL (
        SELECT endpoint_id, due_at FROM webhooks_delivery
        WHERE status = 'pending' AND endpoint_id > heads.endpoint_id ORDER BY endpoint_id, due_at LIMIT 1
    ) AS following
)
SELECT heads.endpoint_id, endpoint.workspace_id, heads.due_at
FROM heads JOIN webhooks_endpoint AS endpoint ON endpoint.id = heads.endpoint_id
WHERE endpoint.status = 'active' AND heads.due_at <= %s
"""


def endpoints(*, workspace_id: uuid.UUID, page: CursorQuery) -> CursorPage[Endpoint]:
    return paginate(_with_newest_attempt(_not_deleted(workspace_id)), page, by=("created_at", "id"))


def endpoint(*, workspace_id: uuid.UUID, endpoint_id: uuid.UUID) -> Endpoint:
    """Raises NotFound."""
    found = _with_newest_attempt(_not_deleted(workspace_id).filter(id=endpoint_id)).first()
    if found is None:
        raise NotFound("There is no such webhook in this workspace.")
    return found


def endpoint_count(*, workspace_id: uuid.UUID) -> int:
    return _not_deleted(workspace_id).count()


def attempts(*, endpoint_id: uuid.UUID, page: CursorQuery) -> CursorPage[Attempt]:
    """With their deliveries and event types."""
    rows = Attempt.objects.filter(endpoint_id=endpoint_id).select_related("delivery__event")
    return paginate(rows.defer("delivery__event__data"), page, by=("id",))


def secrets(*, workspace_ids: Sequence[uuid.UUID], now: datetime | None = None) -> dict[uuid.UUID, list[bytes]]:
    """The sealed secrets that sign each workspace's deliveries now, the current one first."""
    lately = (now or timezone.now()) - SECRET_GRACE
    rows = SigningSecret.objects.filter(Q(retired_at=None) | Q(retired_at__gt=lately), workspace_id__in=workspace_ids)
    found: dict[uuid.UUID, list[bytes]] = {}
    for workspace_id, sealed in rows.order_by("-id").values_list("workspace_id", "sealed"):
        found.setdefault(workspace_id, []).append(bytes(sealed))
    return found


def unsealed(workspace_id: uuid.UUID, sealed: Iterable[bytes]) -> tuple[str, ...]:
    """The secrets in plain text. Raises apps.core.sealing.Unreadable."""
    context = secret_context(workspace_id)
    return tuple(sealing.unseal(one, context=context).decode() for one in sealed)


def secret_context(workspace_id: uuid.UUID) -> str:
    return f"webhook signing secret of {workspace_id}"


def due(*, now: datetime | None = None) -> list[tuple[uuid.UUID, uuid.UUID, datetime]]:
    """Active endpoints with due deliveries: endpoint, workspace, and the earliest due time."""
    with connection.cursor() as cursor:
        cursor.execute(_DUE, [now or timezone.now()])
        return list(cursor.fetchall())


def oldest_due_seconds(*, now: datetime | None = None) -> float:
    """How long the oldest due delivery has waited; 0.0 when none is due. Deliveries of disabled webhooks and
    deliveries that are being sent do not count.
    """
    now = now or timezone.now()
    return max(((now - since).total_seconds() for _, _, since in due(now=now)), default=0.0)


def pending_count() -> int:
    """Deliveries that are neither delivered nor failed, also of disabled webhooks."""
    return Delivery.objects.filter(status=Delivery.Status.PENDING).count()


def attempts_by_outcome(*, since: datetime, until: datetime) -> dict[tuple[str, ...], int]:
    """How many attempts ended as `delivered` and as `failed`, from `since` (included) to `until` (excluded)."""
    ended = Attempt.objects.filter(ended_at__gte=since, ended_at__lt=until)
    delivered = Count("id", filter=Q(status_code__gte=200, status_code__lt=300))
    counts = ended.aggregate(all=Count("id"), delivered=delivered)
    return {("delivered",): counts["delivered"], ("failed",): counts["all"] - counts["delivered"]}


def _not_deleted(workspace_id: uuid.UUID) -> QuerySet[Endpoint]:
    """Without the `webhook_url` of jobs."""
    return Endpoint.objects.filter(workspace_id=workspace_id, job_id=None).exclude(status=Endpoint.Status.DELETED)


def _with_newest_attempt(endpoints: QuerySet[Endpoint]) -> QuerySet[Endpoint]:
    """Annotates `last_sent_at` and `last_error`."""
    newest = Attempt.objects.filter(endpoint_id=OuterRef("id")).order_by("-id")
    return endpoints.annotate(
        last_sent_at=Subquery(newest.values("ended_at")[:1]), last_error=Subquery(newest.values("error")[:1])
    )
