"""Keeps callers' LLM keys encrypted in Redis, and nowhere else, until their job ends.

A key is sealed with AES-256-GCM. The job's id is authenticated, so a key that is copied to another job can't be
decrypted. Redis may lose its data at any time: then the job fails when a worker next reads the key.
"""

from __future__ import annotations

import functools
import logging
import uuid

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from apps.core import sealing
from apps.core.errors import NotReady

log = logging.getLogger(__name__)

# After the last use. Longer than the time that a task may be queued, run and wait for a human.
TTL_SECONDS = 24 * 3600


class KeyUnavailable(Exception):
    """There is no key for the job, or it can't be decrypted."""


class KeyStoreUnavailable(KeyUnavailable):
    """Redis does not answer. It may still have the key."""


def put(*, job_id: uuid.UUID, key: str) -> None:
    """Stores the key. Raises NotReady when Redis is away."""
    sealed = sealing.seal(key.encode(), context=_context(job_id))
    try:
        _redis().set(_name(job_id), sealed, ex=TTL_SECONDS)
    except (redis.RedisError, OSError) as error:
        log.warning("an LLM key could not be stored", extra={"cause": type(error).__name__})
        raise NotReady("The key can't be stored right now. Try again in a few seconds.") from None


def get(*, job_id: uuid.UUID) -> str:
    """The job's key. Its TTL starts again. Raises KeyUnavailable."""
    try:
        sealed = _redis().getex(_name(job_id), ex=TTL_SECONDS)
    except (redis.RedisError, OSError) as error:
        raise KeyStoreUnavailable("Redis is away") from error
    if not isinstance(sealed, bytes):
        raise KeyUnavailable("Redis was emptied, or the key has expired")
    try:
        return sealing.unseal(sealed, context=_context(job_id)).decode()
    except sealing.Unreadable as error:
        raise KeyUnavailable("it can't be decrypted: its master key is missing") from error


def forget(*, job_id: uuid.UUID) -> None:
    """Deletes the key of a job that has ended. If Redis is away, the key expires with its TTL."""
    try:
        _redis().delete(_name(job_id))
    except (redis.RedisError, OSError) as error:
        log.warning("an LLM key could not be deleted; it expires", extra={"cause": type(error).__name__})


def _name(job_id: uuid.UUID) -> str:
    return f"browsa:llm-key:{job_id}"


def _context(job_id: uuid.UUID) -> str:
    return f"LLM key of job {job_id}"


@functools.cache
def _redis() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 1)
    )
