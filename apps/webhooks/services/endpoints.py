"""Writes to endpoints, and the two requests of their owners: a test event and a redelivery."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.accounts.models import Workspace
from apps.core.errors import Conflict, NotFound
from apps.webhooks import selectors
from apps.webhooks.models import Delivery, Endpoint, OutboxEvent
from apps.webhooks.services import secrets
from apps.webhooks.services.outbox import notify_deliverers, record_test_event

MAX_ENDPOINTS = 20


@dataclass(frozen=True, slots=True)
class Ping:
    event: OutboxEvent
    delivery: Delivery


@transaction.atomic
def register(
    *,
    workspace_id: uuid.UUID,
    url: str,
    events: Sequence[str] = (),
    description: str = "",
    signature: str = Endpoint.Signature.BODY,
) -> Endpoint:
    """Raises Conflict when the workspace has MAX_ENDPOINTS already."""
    # The lock prevents another insert between the count and this one.
    Workspace.objects.select_for_update(no_key=True).get(id=workspace_id)
    if selectors.endpoint_count(workspace_id=workspace_id) >= MAX_ENDPOINTS:
        raise Conflict(f"A workspace may have {MAX_ENDPOINTS} webhooks at most. Delete one first.")
    secrets.current_secret(workspace_id=workspace_id)  # every delivery is signed
    return Endpoint.objects.create(
        workspace_id=workspace_id,
        url=url,
        events=list(dict.fromkeys(events)),
        description=description,
        signature=signature,
    )


def register_for_job(*, workspace_id: uuid.UUID, job_id: uuid.UUID, url: str) -> None:
    """Registers a job's `webhook_url`, in the transaction that creates the job."""
    secrets.current_secret(workspace_id=workspace_id)  # every delivery is signed
    Endpoint.objects.create(workspace_id=workspace_id, job_id=job_id, url=url)


@transaction.atomic
def change(*, workspace_id: uuid.UUID, endpoint_id: uuid.UUID, status: str | None = None, **changes: Any) -> Endpoint:
    """Sets `url`, `events`, `description` and `signature` as given; `status` enables or disables. Raises NotFound."""
    endpoint = selectors.endpoint(workspace_id=workspace_id, endpoint_id=endpoint_id)
    if status == Endpoint.Status.ACTIVE:
        cleared = dict.fromkeys(("disabled_at", "notified_at", "failing_since", "last_failure_at"))
        changes.update(cleared, status=status, disabled_reason="")
    elif status == Endpoint.Status.DISABLED and endpoint.status != status:
        now = timezone.now()
        changes.update(status=status, disabled_reason=Endpoint.Reason.OWNER, disabled_at=now, notified_at=now)
    if changes:
        Endpoint.objects.filter(id=endpoint_id).exclude(status=Endpoint.Status.DELETED).update(**changes)
        endpoint.refresh_from_db()
    if endpoint.status == Endpoint.Status.ACTIVE:
        # Deliveries that were pending when it was disabled may be due.
        notify_deliverers(workspace_id, [endpoint_id])
    return endpoint


def delete(*, workspace_id: uuid.UUID, endpoint_id: uuid.UUID) -> None:
    """Its pending deliveries are never sent. Raises NotFound."""
    endpoint = selectors.endpoint(workspace_id=workspace_id, endpoint_id=endpoint_id)
    deleted = {"status": Endpoint.Status.DELETED, "disabled_at": timezone.now(), "notified_at": timezone.now()}
    Endpoint.objects.filter(id=endpoint.id).update(**deleted)


@transaction.atomic
def ping(*, workspace_id: uuid.UUID, endpoint_id: uuid.UUID) -> Ping:
    """Sends `webhook.test` to this one endpoint. Raises NotFound, and Conflict when it is disabled."""
    endpoint = selectors.endpoint(workspace_id=workspace_id, endpoint_id=endpoint_id)
    event, delivery_id = record_test_event(endpoint)
    if delivery_id is None:
        raise Conflict("The webhook is disabled: nothing is sent to it. Set its status to active first.")
    return Ping(event, Delivery.objects.get(id=delivery_id))


@transaction.atomic
def redeliver(*, workspace_id: uuid.UUID, endpoint_id: uuid.UUID, delivery_id: uuid.UUID) -> Delivery:
    """Sends the same event again, now, with the whole schedule of retries. Raises NotFound and Conflict."""
    endpoint = selectors.endpoint(workspace_id=workspace_id, endpoint_id=endpoint_id)
    if endpoint.status != Endpoint.Status.ACTIVE:
        raise Conflict("The webhook is disabled: nothing is sent to it. Set its status to active first.")
    found = Delivery.objects.select_for_update(of=("self",)).select_related("event").defer("event__data")
    delivery = found.filter(id=delivery_id, endpoint_id=endpoint_id).first()
    if delivery is None:
        raise NotFound("There is no such delivery of this webhook.")
    delivery.status, delivery.due_at = Delivery.Status.PENDING, timezone.now()
    # A deliverer that is sending it now loses its claim, so its outcome changes nothing.
    delivery.round_began, delivery.claim = delivery.attempts, None
    delivery.save(update_fields=["status", "due_at", "round_began", "claim"])
    notify_deliverers(workspace_id, [endpoint_id])
    return delivery
