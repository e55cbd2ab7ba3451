"""Short messages on Redis that say "look at the database now". Losing one costs the time until the next look."""

from __future__ import annotations

import functools
import logging
import time

import redis
from django.conf import settings
from django.db import transaction
from redis.backoff import NoBackoff
from redis.retry import Retry

log = logging.getLogger(__name__)

# While Redis is away, not every commit waits for it.
_MUTE_SECONDS = 1.0


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
