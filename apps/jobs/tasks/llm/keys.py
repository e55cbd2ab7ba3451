"""Callers' LLM keys: sealed, in Redis alone, for as long as their job is not over.

A key is sealed for its job (AES-256-GCM, with the job's id authenticated): in another job's place it does not open.
Redis may be emptied at any moment. Then the key is gone, which its job must be able to bear.
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

# From its last use: longer than a task waits in the queue, runs, and waits for a human.
TTL_SECONDS = 24 * 3600


class KeyUnavailable(Exception):
    """There is no key for the job, or none that opens."""


class KeyStoreUnavailable(KeyUnavailable):
    """Redis doesn't answer. The key may be there when it does."""


def put(*, job_id: uuid.UUID, key: str) -> None:
    """Raises NotReady when Redis is away: without the key the job could not begin."""
    sealed = sealing.seal(key.encode(), context=_context(job_id))
    try:
        _redis().set(_name(job_id), sealed, ex=TTL_SECONDS)
    except (redis.RedisError, OSError) as error:
        log.warning("an LLM key could not be kept", extra={"cause": type(error).__name__})
        raise NotReady("The key can't be kept right now: try again in a moment.") from None


def get(*, job_id: uuid.UUID) -> str:
    """The job's key, which from now on lives its full time again. Raises KeyUnavailable."""
    try:
        sealed = _redis().getex(_name(job_id), ex=TTL_SECONDS)
    except (redis.RedisError, OSError) as error:
        raise KeyStoreUnavailable("Redis is away") from error
    if not isinstance(sealed, bytes):
        raise KeyUnavailable("Redis was emptied, or the key's time was up")
    try:
        return sealing.unseal(sealed, context=_context(job_id)).decode()
    except sealing.Unreadable as error:
        raise KeyUnavailable("its master key is gone") from error


def forget(*, job_id: uuid.UUID) -> None:
    """The job is over. What can't be deleted now goes when its time is up."""
    try:
        _redis().delete(_name(job_id))
    except (redis.RedisError, OSError) as error:
        log.warning("an LLM key could not be deleted and expires", extra={"cause": type(error).__name__})


def _name(job_id: uuid.UUID) -> str:
    return f"browsa:llm-key:{job_id}"


def _context(job_id: uuid.UUID) -> str:
    return f"LLM key of job {job_id}"


@functools.cache
def _redis() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 1)
    )
