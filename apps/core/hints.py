"""Messages on Redis that tell a process to read the database now. A lost message costs the time to the next poll."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable
from typing import NoReturn

import redis
import redis.asyncio
from django.conf import settings
from django.db import transaction
from redis.backoff import NoBackoff
from redis.retry import Retry

log = logging.getLogger(__name__)

# After a failure no commit tries Redis for this time.
_MUTE_SECONDS = 1.0
_RECONNECT_SECONDS = 1.0


def publish_on_commit(channel: str, message: str) -> None:
    """Publishes after the commit, or at once when there is no transaction. The message holds only ids."""
    transaction.on_commit(lambda: _publisher().publish(channel, message))


class _Publisher:
    def __init__(self) -> None:
        self._redis = redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 1)
        )
        self._muted_until = 0.0

    def publish(self, channel: str, message: str) -> None:
        if time.monotonic() < self._muted_until:
            return
        try:
            self._redis.publish(channel, message)
        except (redis.RedisError, OSError) as error:
            self._muted_until = time.monotonic() + _MUTE_SECONDS
            log.warning("a hint was not published", extra={"channel": channel, "cause": str(error)})


@functools.cache
def _publisher() -> _Publisher:
    return _Publisher()


async def listen(
    channel: str, on_message: Callable[[bytes], None], *, subscribed: asyncio.Event | None = None
) -> NoReturn:
    """Calls `on_message` with every message, until cancelled. `subscribed` is set while the subscription is active."""
    subscribed = subscribed or asyncio.Event()
    while True:
        try:
            async with redis.asyncio.Redis.from_url(settings.REDIS_URL) as client, client.pubsub() as messages:
                await messages.subscribe(channel)
                # The library writes with `asyncio.wait_for`, which in Python 3.11 swallows a cancellation that comes as
                # the write ends. Without this check the task would not end.
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise asyncio.CancelledError
                subscribed.set()
                async for message in messages.listen():
                    if message["type"] == "message" and isinstance(message["data"], bytes):
                        on_message(message["data"])
        except (redis.RedisError, OSError) as error:
            log.warning("no hints from Redis, polling", extra={"channel": channel, "cause": str(error)})
        subscribed.clear()
        await asyncio.sleep(_RECONNECT_SECONDS)
