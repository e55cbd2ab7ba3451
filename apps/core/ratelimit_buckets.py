"""Stores the buckets in Redis, shared by all API processes, or in this process while Redis can't be reached.

Each request costs one round trip. The clock of Redis counts, so the clocks of the API machines may differ.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable
from typing import cast

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from apps.core import ratelimits
from apps.core.ratelimits import MICROSECONDS, Limit, TakeResult

log = logging.getLogger(__name__)

# `ratelimits.take` in Lua. A test compares the two.
SCRIPT = """
local interval, capacity = tonumber(ARGV[1]), tonumber(ARGV[2])
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local full_at = tonumber(redis.call('GET', KEYS[1]) or 0)
local backlog = math.min(math.max(full_at - now, 0), capacity)
local allowed = 0
if backlog + interval <= capacity then
    allowed = 1
    backlog = backlog + interval
    redis.call('SET', KEYS[1], string.format('%.0f', now + backlog), 'PX', math.ceil(backlog / 1000))
end
return {allowed, backlog, now}
"""

_TIMEOUT_SECONDS = 0.5
# While Redis can't be reached, one request in this time tries it; the others do not wait.
PROBE_SECONDS = 1.0
_MAX_LOCAL_BUCKETS = 10_000


class Unavailable(Exception):
    """Redis can't be reached now."""


class SharedBuckets:
    """The buckets in Redis. Thread-safe. `clock` is in seconds."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            # Retry once after a restarted Redis closed an idle connection, but not after a timeout.
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        )
        self._script = self._client.register_script(SCRIPT)
        self._clock = clock
        self._lock = threading.Lock()
        self._unavailable_until: float | None = None

    def close(self) -> None:
        self._client.close()

    def take(self, key: str, limit: Limit) -> TakeResult:
        """Raises Unavailable."""
        if self._unavailable_until is not None:
            with self._lock:
                now = self._clock()
                if self._unavailable_until is not None and now < self._unavailable_until:
                    raise Unavailable
                self._unavailable_until = now + PROBE_SECONDS  # this request is the probe
        try:
            allowed, backlog, _ = cast(list[int], self._script(keys=[key], args=[limit.interval, limit.capacity]))
        except (redis.RedisError, OSError) as error:
            if self._unavailable_until is None:
                cause = {"cause": type(error).__name__}
                log.warning("Redis can't be reached: rate limits count in this process alone", extra=cause)
            self._unavailable_until = self._clock() + PROBE_SECONDS
            raise Unavailable from error
        if self._unavailable_until is not None:
            log.warning("Redis is reachable again: rate limits count for all processes")
            self._unavailable_until = None
        return TakeResult(bool(allowed), backlog)


class LocalBuckets:
    """Buckets in this process's memory. `clock` is in seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._full_at: dict[str, int] = {}

    def take(self, key: str, limit: Limit) -> TakeResult:
        with self._lock:
            now = int(self._clock() * MICROSECONDS)
            taken = ratelimits.take(self._full_at.get(key, 0), now, limit)
            if len(self._full_at) >= _MAX_LOCAL_BUCKETS:
                self._full_at = {name: full_at for name, full_at in self._full_at.items() if full_at > now}
            self._full_at[key] = now + taken.backlog
            return taken


@functools.cache
def _shared(url: str) -> SharedBuckets:
    return SharedBuckets(url)


@functools.cache
def _local() -> LocalBuckets:
    return LocalBuckets()


def take(workspace: str, name: str, limit: Limit) -> TakeResult:
    """Takes one token from the workspace's bucket of the route class `name`.

    While Redis can't be reached it raises Unavailable for strict classes and counts the others in this process.
    """
    key = f"ratelimit:{workspace}:{name}"
    try:
        return _shared(settings.REDIS_URL).take(key, limit)
    except Unavailable:
        if name in ratelimits.STRICT:
            raise
        return _local().take(key, limit)
