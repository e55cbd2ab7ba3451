"""One attempt to deliver: sign the event, send it, and derive the outcome from the response."""

from __future__ import annotations

import random
import time
from datetime import datetime, timedelta

from django.utils import timezone

from addresses.policy import AllowRule
from apps.core.outgoing import urls
from apps.core.outgoing.client import Channel, OutgoingResponse, RequestFailed
from apps.core.sealing import Unreadable
from apps.webhooks import selectors, signing
from apps.webhooks.schedule import next_attempt
from apps.webhooks.services.delivery_claims import GONE, AttemptOutcome, ClaimedDelivery

TIMEOUT_SECONDS = 15.0
USER_AGENT = "Browsa-Webhooks/1.0"


async def attempt(
    delivery: ClaimedDelivery, channel: Channel, *, allow: tuple[AllowRule, ...], seconds: float = TIMEOUT_SECONDS
) -> AttemptOutcome:
    """Sends the delivery once. Every failure becomes an outcome."""
    begun, began_at = time.perf_counter(), timezone.now()
    try:
        response: OutgoingResponse | RequestFailed = await _send(
            delivery, channel, allow=allow, at=began_at, seconds=seconds
        )
    except RequestFailed as error:
        response = error
    took = time.perf_counter() - begun
    return judge(
        delivery,
        response,
        ended_at=began_at + timedelta(seconds=took),
        took=took,
        jitter=random.random(),  # noqa: S311
    )


async def _send(
    delivery: ClaimedDelivery, channel: Channel, *, allow: tuple[AllowRule, ...], at: datetime, seconds: float
) -> OutgoingResponse:
    """Raises RequestFailed, also when the URL or the secrets do not allow a request."""
    try:
        destination = urls.check(delivery.url, allow)
    except urls.BadUrl as error:
        raise RequestFailed(f"the URL {error}") from error
    try:
        keys = selectors.unsealed(delivery.workspace_id, delivery.secrets)
    except Unreadable as error:
        raise RequestFailed(f"not sent: the {error}") from error
    if not keys:
        raise RequestFailed("not sent: the workspace has no signing secret")
    content = signing.body(
        event_id=delivery.event_id,
        type=delivery.event_type,
        created_at=delivery.event_at,
        workspace_id=delivery.workspace_id,
        data=delivery.data,
    )
    headers = {
        "User-Agent": USER_AGENT,
        "Content-Type": "application/json",
        "Accept": "*/*",
        **signing.headers(content, event_id=delivery.event_id, keys=keys, at=at, timestamped=delivery.timestamped),
    }
    return await channel.post(destination, headers=headers, body=content, seconds=seconds)


def judge(
    delivery: ClaimedDelivery,
    response: OutgoingResponse | RequestFailed,
    *,
    ended_at: datetime,
    took: float,
    jitter: float,
) -> AttemptOutcome:
    """A 2xx status is a success, everything else a failure. Pure."""
    status = None if isinstance(response, RequestFailed) else response.status
    delivered = status is not None and 200 <= status < 300
    if isinstance(response, RequestFailed):
        error = str(response).replace("\x00", "")[:300]  # PostgreSQL's text can't store NUL
    elif 300 <= response.status < 400:
        error = f"answered {status}: redirects are not followed"
    elif status == GONE:
        error = "answered 410: the webhook was disabled"
    else:
        error = "" if delivered else f"answered {status}"
    due_at = None
    if not delivered and status != GONE:
        retry_after = "" if isinstance(response, RequestFailed) else response.retry_after
        due_at = next_attempt(made=delivery.made + 1, now=ended_at, jitter=jitter, retry_after=retry_after)
    return AttemptOutcome(
        delivery=delivery,
        delivered=delivered,
        status_code=status,
        error=error,
        duration_ms=round(took * 1000),
        ended_at=ended_at,
        due_at=due_at,
    )
