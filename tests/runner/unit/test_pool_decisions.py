"""When the pool starts a browser: pure decisions."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.pool import (
    MAX_BACKOFF_SECONDS,
    QUIET_SECONDS,
    STARTS_WHILE_WAITING,
    PoolState,
    pause_before_refill,
    starts_now,
)

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

small = st.integers(0, 20)
states = st.builds(
    PoolState,
    target=small,
    limit=small,
    warm=small,
    starting=small,
    leased=small,
    waiting=small,
    failures=small,
    since_lease=st.floats(0, 100) | st.just(float("inf")),
)


def state(**counts: float) -> PoolState:
    return PoolState(**({"target": 4, "limit": 8, "warm": 0, "starting": 0, "leased": 0, "waiting": 0} | counts))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("now", "starts"),
    [
        (state(), 1),  # one at a time while no caller waits
        (state(starting=1), 0),
        (state(warm=3), 1),
        (state(warm=4), 0),
        (state(warm=5), 0),
        (state(leased=8), 0),
        (state(leased=7), 1),
        (state(leased=7, waiting=5), 1),
        (state(leased=8, waiting=5), 0),
        (state(waiting=1), 1),
        (state(waiting=2), 2),
        (state(waiting=9), STARTS_WHILE_WAITING),
        (state(waiting=9, starting=1), 1),
        (state(waiting=9, starting=2), 0),
        (state(waiting=9, failures=1), 1),  # what fails twice at a time fails faster, not better
        (state(waiting=1, target=0), 1),  # without a pool, a lease starts its own
        (state(target=0), 0),
        (state(limit=0), 0),
    ],
)
def test_how_many_browsers_start(now: PoolState, starts: int) -> None:
    assert starts_now(now) == starts


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        (state(), 0),
        (state(since_lease=0.0), QUIET_SECONDS),
        (state(since_lease=QUIET_SECONDS + 1), 0),
        (state(since_lease=0.0, waiting=1), 0),
        (state(failures=1), 0.5),
        (state(failures=2, waiting=3), 1),
        (state(failures=50), MAX_BACKOFF_SECONDS),
        (state(failures=5000), MAX_BACKOFF_SECONDS),
    ],
)
def test_how_long_the_next_start_is_put_off(now: PoolState, seconds: float) -> None:
    assert pause_before_refill(now) == seconds


@unhurried
@given(states)
def test_never_more_browsers_than_the_limit(now: PoolState) -> None:
    starts = starts_now(now)

    assert starts >= 0
    assert starts == 0 or now.warm + now.starting + now.leased + starts <= now.limit


@unhurried
@given(states)
def test_a_waiting_caller_gets_a_start_while_there_is_room(now: PoolState) -> None:
    if now.waiting and now.warm + now.starting + now.leased < now.limit:
        assert now.starting + starts_now(now) >= 1


@unhurried
@given(states)
def test_starts_at_once_are_bounded(now: PoolState) -> None:
    if starts_now(now):
        assert now.starting + starts_now(now) <= max(1, STARTS_WHILE_WAITING)


@unhurried
@given(states)
def test_a_pause_is_bounded(now: PoolState) -> None:
    assert 0 <= pause_before_refill(now) <= MAX_BACKOFF_SECONDS


@unhurried
@given(st.integers(0, 8), st.integers(1, 8))
def test_a_quiet_pool_fills_up_to_its_target_and_stops(target: int, limit: int) -> None:
    warm = 0
    for _ in range(20):
        warm += starts_now(state(target=target, limit=limit, warm=warm))

    assert warm == min(target, limit)
