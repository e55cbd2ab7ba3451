"""When a delivery is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.webhooks.schedule import (
    DELAYS,
    DISABLE_AFTER,
    MAX_ATTEMPTS,
    MAX_RETRY_AFTER,
    FailurePeriod,
    after_failure,
    next_attempt,
    retry_after_delay,
    should_disable,
)

NOW = datetime(2026, 6, 9, 8, tzinfo=UTC)
HOUR = 3600


def wait(made: int, *, jitter: float = 0.5, retry_after: str = "") -> float | None:
    again = next_attempt(made=made, now=NOW, jitter=jitter, retry_after=retry_after)
    return None if again is None else (again - NOW).total_seconds()


def test_the_schedule_is_the_contracts() -> None:
    assert [wait(made) for made in range(1, 11)] == [
        *(5, 300, 1800, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR),
        None,
    ]
    assert MAX_ATTEMPTS == 10


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 9), st.floats(0, 1))
def test_each_wait_is_within_a_fifth_of_its_figure(made: int, jitter: float) -> None:
    waited = wait(made, jitter=jitter)

    assert waited is not None
    assert 0.8 * DELAYS[made - 1] - 0.001 <= waited <= 1.2 * DELAYS[made - 1] + 0.001


def test_retry_after_delays_but_never_hastens_or_adds() -> None:
    assert wait(1, retry_after="60") == 60
    assert wait(2, retry_after="60") == 300
    assert wait(10, retry_after="60") is None
    assert wait(1, retry_after="999999999") == MAX_RETRY_AFTER.total_seconds()
    assert wait(1, retry_after=format_datetime(NOW + timedelta(hours=1), usegmt=True)) == HOUR


@pytest.mark.parametrize(
    "text", ["", "soon", "-5", "1.5", "٣", "9" * 40, "Thu, 32 Jan 2026 00:00:00 GMT", "Mon, 01 Jan 0001 00:00:00 +1400"]
)
def test_an_invalid_retry_after_is_ignored(text: str) -> None:
    assert retry_after_delay(text, now=NOW) == timedelta()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=40))
def test_no_retry_after_breaks_anything(text: str) -> None:
    assert retry_after_delay(text, now=NOW) >= timedelta()


def test_five_days_of_nothing_but_failures_are_the_end() -> None:
    failing = None
    for hours in range(0, 5 * 24 + 1, 20):
        assert failing is None or not should_disable(failing)
        failing = after_failure(failing, now=NOW + timedelta(hours=hours))

    assert failing == FailurePeriod(since=NOW, last=NOW + DISABLE_AFTER)
    assert should_disable(failing)


def test_what_failed_before_a_long_silence_is_forgotten() -> None:
    later = NOW + timedelta(days=30)

    assert after_failure(FailurePeriod(NOW, NOW), now=later) == FailurePeriod(later, later)
