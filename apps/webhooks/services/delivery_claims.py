"""The deliverers' writes: claim due deliveries, record the outcomes of attempts.

A claim is committed before anything is sent. If a deliverer dies, its deliveries are due again when its claims expire;
if it comes back after that, its claims are no longer in the rows and it changes none. Both writes go in batches: one
statement each, for any number of endpoints.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from apps.webhooks import selectors
from apps.webhooks.models import Endpoint
from apps.webhooks.schedule import FailurePeriod, after_failure, should_disable

log = logging.getLogger(__name__)

GONE = 410  # the receiver refuses all further deliveries
# A failure this soon after the last one is not written: the limit is days.
_FAILURE_RESOLUTION = timedelta(minutes=1)
# Longer than a claimed delivery may wait and an attempt may take.
CLAIM_TIME = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A delivery that this process may send until `until`, with everything the attempt needs. `secrets` are sealed.

    `made`: the attempts since the schedule last started from its beginning.
    """

    id: uuid.UUID
    claim: uuid.UUID
    until: datetime
    endpoint_id: uuid.UUID
    workspace_id: uuid.UUID
    url: str
    timestamped: bool
    made: int
    event_id: str
    event_type: str
    event_at: datetime
    data: str
    secrets: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class AttemptOutcome:
    """The result of an attempt. `due_at`: the time of the next attempt; None: there is none."""

    delivery: ClaimedDelivery
    delivered: bool
    status_code: int | None
    error: str
    duration_ms: int
    ended_at: datetime
    due_at: datetime | None = None

    @property
    def status(self) -> str:
        if self.delivered:
            return "delivered"
        return "failed" if self.due_at is None else "pending"


# Asynchronous commit: a crash of the database may undo the last second, which repeats attempts but loses no delivery.
# No sequential scans: the statistics of a table that changes all the time are always old.
# These settings precede the statement in the same round trip.
_SETTINGS = "SET LOCAL synchronous_commit TO off; SET LOCAL enable_seqscan TO off;"

_RECORD = """
WITH outcome AS (
    SELECT * FROM unnest(
        %s::uuid[], %s::uuid[], %s::text[], %s::timestamptz[], %s::int[], %s::text[], %s::int[], %s::timestamptz[]
    ) AS outcome (id, claim, status, due_at, status_code, error, duration_ms, ended_at)
), moved AS (
    UPDATE webhooks_delivery AS delivery
    SET status = outcome.status, due_at = outcome.due_at, attempts = delivery.attempts + 1, claim = NULL
    FROM outcome WHERE delivery.id = outcome.id AND delivery.claim = outcome.claim
    RETURNING delivery.id, delivery.endpoint_id, delivery.status, delivery.attempts,
        outcome.status_code, outcome.error, outcome.duration_ms, outcome.ended_at
), recovered AS (
    UPDATE webhooks_endpoint SET failing_since = NULL, last_failure_at = NULL
    WHERE failing_since IS NOT NULL AND job_id IS NULL
        AND id IN (SELECT endpoint_id FROM moved WHERE status = 'delivered')
), finished AS (
    UPDATE webhooks_endpoint SET status = 'deleted', disabled_at = moved.ended_at, notified_at = moved.ended_at
    FROM moved WHERE webhooks_endpoint.id = moved.endpoint_id AND job_id IS NOT NULL AND moved.status <> 'pending'
)
INSERT INTO webhooks_attempt (delivery_id, endpoint_id, number, status_code, error, duration_ms, ended_at)
SELECT id, endpoint_id, attempts, status_code, error, duration_ms, ended_at FROM moved ORDER BY ended_at
RETURNING delivery_id
"""

_CLAIM = """
WITH wanted AS (
    SELECT * FROM unnest(%(endpoints)s::uuid[], %(limits)s::int[]) AS wanted (endpoint_id, most)
), taken AS (
    SELECT due.id FROM wanted
    JOIN webhooks_endpoint AS endpoint ON endpoint.id = wanted.endpoint_id AND endpoint.status = 'active'
    CROSS JOIN LATERAL (
        SELECT id FROM webhooks_delivery
        WHERE endpoint_id = wanted.endpoint_id AND status = 'pending' AND due_at <= %(now)s
        ORDER BY due_at LIMIT wanted.most FOR UPDATE SKIP LOCKED
    ) AS due
), moved AS (
    UPDATE webhooks_delivery AS delivery SET claim = %(claim)s, due_at = %(until)s
    FROM taken WHERE delivery.id = taken.id
    RETURNING delivery.id, delivery.endpoint_id, delivery.event_id, delivery.attempts - delivery.round_began AS made
)
SELECT moved.id, moved.endpoint_id, endpoint.workspace_id, endpoint.url, endpoint.signature = 'timestamped', moved.made,
    event.id, event.type, event.created_at, event.data::text, ARRAY(
        SELECT encode(sealed, 'hex') FROM webhooks_signingsecret
        WHERE workspace_id = endpoint.workspace_id AND (retired_at IS NULL OR retired_at > %(lately)s) ORDER BY id DESC
    )
FROM moved
JOIN webhooks_endpoint AS endpoint ON endpoint.id = moved.endpoint_id
JOIN webhooks_outboxevent AS event ON event.id = moved.event_id
ORDER BY event.created_at
"""


def record(outcomes: Sequence[AttemptOutcome]) -> None:
    """Writes outcomes. One whose claim is no longer in the row changes nothing, so a repeat changes nothing.

    Also updates the health of endpoints: a success resets `failing_since`, a failure sets it, and an endpoint that
    answered 410 or has failed for too long is disabled. A success in the batch outweighs the failures beside it. The
    `webhook_url` of a job is deleted after its one event.
    """
    if all(outcome.delivered for outcome in outcomes):
        _record(outcomes)
        return
    with transaction.atomic():
        written = _record(outcomes)
        recorded = [outcome for outcome in outcomes if outcome.delivery.id in written]
        delivered = {outcome.delivery.endpoint_id for outcome in recorded if outcome.delivered}
        failed = {o.delivery.endpoint_id: o.ended_at for o in recorded if not o.delivered}
        gone = {outcome.delivery.endpoint_id for outcome in recorded if outcome.status_code == GONE}
        for endpoint_id in gone:
            _disable(endpoint_id, Endpoint.Reason.GONE, failed[endpoint_id])
        _record_failures({endpoint_id: at for endpoint_id, at in failed.items() if endpoint_id not in delivered | gone})


def _record(outcomes: Sequence[AttemptOutcome]) -> set[uuid.UUID]:
    """Returns the ids of the deliveries whose claim was still in the row."""
    rows = (
        (o.delivery.id, o.delivery.claim, o.status, o.due_at, o.status_code, o.error, o.duration_ms, o.ended_at)
        for o in outcomes
    )
    with connection.cursor() as cursor:
        cursor.execute(_SETTINGS + _RECORD, [list(column) for column in zip(*rows, strict=True)])
        return {row[0] for row in cursor.fetchall()}


def claim(limits: Mapping[uuid.UUID, int], *, now: datetime | None = None) -> list[ClaimedDelivery]:
    """Claims due deliveries of these endpoints, at most `limits[endpoint_id]` of each, the longest due first."""
    now = now or timezone.now()
    claim_id, until = uuid.uuid4(), now + CLAIM_TIME
    values: dict[str, Any] = {"now": now, "claim": claim_id, "until": until, "lately": now - selectors.SECRET_GRACE}
    with connection.cursor() as cursor:
        cursor.execute(_SETTINGS + _CLAIM, {"endpoints": list(limits), "limits": list(limits.values()), **values})
        rows: list[Any] = cursor.fetchall()
    return [
        ClaimedDelivery(
            *(
                delivery_id,
                claim_id,
                until,
                endpoint_id,
                workspace_id,
                url,
                timestamped,
                made,
                event_id,
                type,
                at,
                data,
            ),
            secrets=tuple(bytes.fromhex(sealed) for sealed in secrets),
        )
        for (
            *(delivery_id, endpoint_id, workspace_id, url, timestamped, made, event_id, type, at, data),
            secrets,
        ) in rows
    ]


def release(claimed: Sequence[ClaimedDelivery]) -> None:
    """Gives up claims of deliveries that were not started: they are due now."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE webhooks_delivery SET claim = NULL, due_at = %s WHERE id = ANY(%s) AND claim = ANY(%s)",
            [timezone.now(), [one.id for one in claimed], list({one.claim for one in claimed})],
        )


def _record_failures(failures: dict[uuid.UUID, datetime]) -> None:
    if not failures:
        return
    # Rows that another process has locked are skipped: one failure more or less does not matter in five days.
    rows = Endpoint.objects.select_for_update(skip_locked=True, no_key=True).filter(id__in=list(failures))
    for endpoint in rows.only("failing_since", "last_failure_at", "status"):
        at, since, last = failures[endpoint.id], endpoint.failing_since, endpoint.last_failure_at
        if since is not None and last is not None and at - last < _FAILURE_RESOLUTION:
            continue
        failing = after_failure(FailurePeriod(since, last) if since and last else None, now=at)
        Endpoint.objects.filter(id=endpoint.id).update(failing_since=failing.since, last_failure_at=failing.last)
        if should_disable(failing):
            _disable(endpoint.id, Endpoint.Reason.FAILING, at)


def _disable(endpoint_id: uuid.UUID, reason: Endpoint.Reason, at: datetime) -> None:
    active = Endpoint.objects.filter(id=endpoint_id, status=Endpoint.Status.ACTIVE)
    if active.update(status=Endpoint.Status.DISABLED, disabled_reason=reason, disabled_at=at, notified_at=None):
        log.warning("a webhook was disabled", extra={"endpoint_id": endpoint_id, "reason": str(reason)})
