"""Long-polls and event streams: coroutines, so that a waiting client holds no thread."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator

from asgiref.sync import sync_to_async

from apps.jobs import selectors
from apps.jobs.lifecycle import TERMINAL
from apps.jobs.serializers import event_body
from apps.jobs.waiting import job_notifications

# Proxies close connections that are silent for long; most allow a minute.
HEARTBEAT_SECONDS = 15.0
_EVENTS_AT_ONCE = 200
_RECONNECT_MS = 1000


async def until_settled(job_id: uuid.UUID, *, seconds: float) -> None:
    """Returns when the job is over or asks a human, or after `seconds`."""
    until = asyncio.get_running_loop().time() + seconds
    async with job_notifications.subscribed(job_id) as subscription:
        while subscription.head is None or not (
            subscription.head.terminal or subscription.head.status == "input_required"
        ):
            if not await subscription.changed(until - asyncio.get_running_loop().time()):
                return


async def stream(job_id: uuid.UUID, *, after: int) -> AsyncIterator[bytes]:
    """Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) from the event after number
    `after` to the job's last one. A comment is sent from time to time while there is no event.
    """
    yield f"retry: {_RECONNECT_MS}\n\n".encode()
    async with job_notifications.subscribed(job_id) as subscription:
        while True:
            events = await sync_to_async(selectors.events)(job_id=job_id, after=after, limit=_EVENTS_AT_ONCE)
            for event in events:
                data = json.dumps(event_body(event), ensure_ascii=False, separators=(",", ":"))
                yield f"id: {event.seq}\nevent: {event.type}\ndata: {data}\n\n".encode()
                after = event.seq
                if event.type in TERMINAL:
                    return
            more = len(events) == _EVENTS_AT_ONCE
            while not more and (subscription.head is None or subscription.head.last_seq <= after):
                if not await subscription.changed(HEARTBEAT_SECONDS):
                    yield b": still there\n\n"
