"""Long-polls and event streams: coroutines that hold no thread while they wait."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator

from asgiref.sync import sync_to_async

from apps.jobs import selectors
from apps.jobs.lifecycle import TERMINAL
from apps.jobs.models import JobEvent
from apps.jobs.serializers import event_body
from apps.jobs.waiting import job_notifications

# Proxies close what is silent for long; most wait a minute.
HEARTBEAT_SECONDS = 15.0
_PAGE = 200
_RECONNECT_MS = 1000


async def until_over(job_id: uuid.UUID, *, seconds: float) -> None:
    """Returns when the job is over, at the latest after `seconds`."""
    until = asyncio.get_running_loop().time() + seconds
    async with job_notifications.watching(job_id) as watch:
        while watch.head is None or not watch.head.terminal:
            if not await watch.news(until - asyncio.get_running_loop().time()):
                return


async def stream(job_id: uuid.UUID, *, after: int) -> AsyncIterator[bytes]:
    """Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) from the one that follows
    number `after` to the job's last, with a comment from time to time while nothing happens.
    """
    yield f"retry: {_RECONNECT_MS}\n\n".encode()
    async with job_notifications.watching(job_id) as watch:
        while True:
            events = await sync_to_async(selectors.events)(job_id=job_id, after=after, limit=_PAGE)
            for event in events:
                yield _frame(event)
                after = event.seq
                if event.type in TERMINAL:
                    return
            while len(events) < _PAGE and (watch.head is None or watch.head.last_seq <= after):
                if not await watch.news(HEARTBEAT_SECONDS):
                    yield b": still there\n\n"


def _frame(event: JobEvent) -> bytes:
    data = json.dumps(event_body(event), ensure_ascii=False, separators=(",", ":"))
    return f"id: {event.seq}\nevent: {event.type}\ndata: {data}\n\n".encode()
