"""Short messages on Redis that say "look at the database now". Losing one costs the time until the next look."""

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

# While Redis is away, not every commit waits for it.
_MUTE_SECONDS = 1.0
_RECONNECT_SECONDS = 1.0


def publish_on_commit(channel: str, message: str) -> None:
    """After the commit, or at once when there is no transaction. The message holds ids and nothing else."""
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
            log.warning("no hint was published", extra={"channel": channel, "cause": str(error)})


@functools.cache
def _publisher() -> _Publisher:
    return _Publisher()


async def listen(
    channel: str, on_message: Callable[[bytes], None], *, subscribed: asyncio.Event | None = None
) -> NoReturn:
    """Calls `hear` with every message until it is cancelled; `subscribed` is set while none can be missed."""
    subscribed = subscribed or asyncio.Event()
    while True:
        try:
            async with redis.asyncio.Redis.from_url(settings.REDIS_URL) as client, client.pubsub() as messages:
                await messages.subscribe(channel)
                _end_if_cancelled()
                subscribed.set()
                async for message in messages.listen():
                    if message["type"] == "message" and isinstance(message["data"], bytes):
                        on_message(message["data"])
        except (redis.RedisError, OSError) as error:
            log.warning("no hints from Redis, polling", extra={"channel": channel, "cause": str(error)})
        subscribed.clear()
        await asyncio.sleep(_RECONNECT_SECONDS)


def _end_if_cancelled() -> None:
    """The Redis library writes with `asyncio.wait_for`, which in Python 3.11 swallows a cancellation that comes as the
    write ends; a task that then listened on would never end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
