"""When a delivery is tried again, and when an endpoint is disabled for failing. Pure.

The schedule follows Svix (https://docs.svix.com/retries): each delay counts from the attempt before it, so the tenth
and last attempt comes a little more than three days after the first.
"""

from __future__ import annotations

import email.utils
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_MINUTE, _HOUR = 60, 3600
# Seconds between one attempt and the next.
DELAYS: tuple[int, ...] = (
    *(5, 5 * _MINUTE, 30 * _MINUTE),
    *(2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 14 * _HOUR, 20 * _HOUR, 24 * _HOUR),
)
MAX_ATTEMPTS = len(DELAYS) + 1
JITTER = 0.2
# Retry-After can ask for at most the longest delay of the schedule.
MAX_RETRY_AFTER = timedelta(seconds=DELAYS[-1])

DISABLE_AFTER = timedelta(days=5)
# Longer than any delay between two attempts: a failure before such a pause says nothing about the endpoint now.
FAILURE_MEMORY = timedelta(hours=36)


def next_attempt(*, made: int, now: datetime, jitter: float, retry_after: str = "") -> datetime | None:
    """The time of the next attempt after `made` failed ones (from 1); None when there is no next one.

    `jitter` is a random number from 0 to 1. `retry_after` is the raw header: it can only delay the attempt.
    """
    if made >= MAX_ATTEMPTS:
        return None
    delay = timedelta(seconds=DELAYS[made - 1] * (1 - JITTER + 2 * JITTER * jitter))
    asked = retry_after_delay(retry_after, now=now)
    return now + max(delay, min(asked, MAX_RETRY_AFTER))


def retry_after_delay(retry_after: str, *, now: datetime) -> timedelta:
    """The delay that a Retry-After header (RFC 9110, 10.2.3) asks for; zero if the header is not valid."""
    if re.fullmatch(r"[0-9]{1,9}", retry_after):
        return timedelta(seconds=int(retry_after))
    try:
        until = email.utils.parsedate_to_datetime(retry_after)
        return max(until.replace(tzinfo=until.tzinfo or UTC) - now, timedelta())
    except (ValueError, OverflowError):
        return timedelta()


@dataclass(frozen=True, slots=True)
class FailurePeriod:
    """A period without a success: the times of its first and its last failure."""

    since: datetime
    last: datetime


def after_failure(before: FailurePeriod | None, *, now: datetime) -> FailurePeriod:
    if before is None or now - before.last > FAILURE_MEMORY:
        return FailurePeriod(since=now, last=now)
    return FailurePeriod(since=before.since, last=now)


def should_disable(failing: FailurePeriod) -> bool:
    return failing.last - failing.since >= DISABLE_AFTER
