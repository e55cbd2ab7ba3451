"""The health checks behind `/readyz`. Apps register their own checks, so that core imports no app."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import redis
from django.conf import settings
from django.db import connection
from django.utils import timezone

from apps.core import ticks
from apps.core.beat_schedule import PERIODS
from apps.core.models import BeatTick

BEAT_MAX_AGE = timedelta(seconds=15)

Check = Callable[[], dict[str, Any]]
_checks: dict[str, Check] = {}


class Unhealthy(Exception):
    """Raised by a check that fails; the message is shown in the report."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    ok: bool
    detail: dict[str, Any]


def register(name: str, check: Check) -> None:
    """`check` returns details for the operator; any exception means that its part does not work."""
    _checks[name] = check


def run_checks() -> dict[str, CheckResult]:
    results = {}
    for name, check in _checks.items():
        try:
            results[name] = CheckResult(ok=True, detail=check())
        except Exception as error:  # one failing part must not hide the others
            reason = str(error) if isinstance(error, Unhealthy) else type(error).__name__
            results[name] = CheckResult(ok=False, detail={"error": reason})
    return results


def database() -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return {}


@functools.cache
def _redis() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2)


def redis_server() -> dict[str, Any]:
    _redis().ping()
    return {}


def worker_and_beat() -> dict[str, Any]:
    """A recently finished tick shows that beat sent it and a worker ran it: both are alive.

    Late and failed ticks are reported but do not fail the check: their work waits, but agents can be provisioned.
    """
    now = timezone.now()
    newest = BeatTick.objects.filter(finished_at__isnull=False).order_by("-finished_at").first()
    if newest is None or newest.finished_at is None:
        raise Unhealthy("no beat tick has finished yet")
    age = now - newest.finished_at
    if age > BEAT_MAX_AGE:
        raise Unhealthy(f"the last beat tick finished {age.total_seconds():.0f} s ago")
    states = ticks.states(PERIODS)
    late = {tick.name: round(tick.late_by(now).total_seconds(), 1) for tick in states if tick.late_by(now)}
    failed = {tick.name: tick.error for tick in states if tick.error}
    return {"last_tick_seconds_ago": round(age.total_seconds(), 1), "late_seconds": late, "failed": failed}


register("database", database)
register("redis", redis_server)
register("worker_and_beat", worker_and_beat)
