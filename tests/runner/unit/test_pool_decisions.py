"""Which browsers the pool starts and ends, and which shapes it keeps: pure decisions."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.pool_decisions import (
    MAX_BACKOFF_SECONDS,
    QUIET_SECONDS,
    RECENT_LEASES,
    STARTS_WHILE_WAITING,
    PoolState,
    PoolStep,
    Shape,
    Wanted,
    next_step,
    pause_before_refill,
    warm_shapes,
)

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

MAC, WINDOWS, LINUX = Shape("macos", "us"), Shape("windows", "de"), Shape("linux", "us")
SEEDED = Wanted(MAC, seed="7")

shapes = st.sampled_from([MAC, WINDOWS, LINUX])
orders = st.builds(Wanted, shapes, st.sampled_from(["", "7"]))
few = st.integers(0, 8)
states = st.builds(
    PoolState,
    keep=st.dictionaries(shapes, st.integers(1, 4)),
    limit=st.integers(0, 20),
    warm=st.lists(shapes, max_size=8).map(tuple),
    starting=st.lists(orders, max_size=4).map(tuple),
    waiting=st.lists(orders, max_size=8).map(tuple),
    leased=few,
    ending=few,
    failures=few,
    since_lease=st.floats(0, 100) | st.just(float("inf")),
)


def mac(count: int) -> tuple[Shape, ...]:
    return (MAC,) * count


def asked(*wanted: Shape | Wanted) -> tuple[Wanted, ...]:
    return tuple(Wanted(one) if isinstance(one, Shape) else one for one in wanted)


def state(**fields: Any) -> PoolState:
    return PoolState(**({"keep": {MAC: 4}, "limit": 8} | fields))


@pytest.mark.parametrize(
    ("recent", "target", "keep"),
    [
        ([MAC] * 20, 4, {MAC: 4}),
        ([MAC] * 20, 0, {}),
        ([MAC] * 18 + [WINDOWS] * 2, 4, {MAC: 4}),
        ([MAC] * 17 + [WINDOWS] * 3, 4, {MAC: 3, WINDOWS: 1}),
        ([MAC] * 10 + [WINDOWS] * 10, 4, {MAC: 2, WINDOWS: 2}),
        ([MAC] * 10 + [WINDOWS] * 10, 3, {MAC: 1, WINDOWS: 2}),  # the latest lease decides between equals
        ([WINDOWS] * 10 + [MAC] * 10, 3, {MAC: 2, WINDOWS: 1}),
        ([MAC] * 12 + [WINDOWS] * 4 + [LINUX] * 4, 4, {MAC: 2, WINDOWS: 1, LINUX: 1}),
        ([MAC] * 1 + [WINDOWS] * 19, 4, {WINDOWS: 4}),
        ([MAC, WINDOWS, LINUX], 2, {LINUX: 1, WINDOWS: 1}),
        ([MAC, WINDOWS, LINUX], 1, {LINUX: 1}),
    ],
)
def test_which_shapes_stay_warm(recent: list[Shape], target: int, keep: dict[Shape, int]) -> None:
    assert warm_shapes(recent, target) == keep


@pytest.mark.parametrize(
    ("now", "start", "end"),
    [
        # No caller waits: one browser after another.
        (state(), [MAC], []),
        (state(starting=asked(MAC)), [], []),
        (state(warm=mac(3)), [MAC], []),
        (state(warm=mac(4)), [], []),
        (state(warm=mac(5)), [], []),
        (state(leased=8), [], []),
        (state(leased=7), [MAC], []),
        (state(leased=7, ending=1), [], []),
        (state(limit=0), [], []),
        (state(keep={}), [], []),
        # The demand has changed: a browser of another shape gives its place.
        (state(keep={MAC: 3, WINDOWS: 1}, warm=mac(3)), [WINDOWS], []),
        (state(keep={MAC: 3, WINDOWS: 1}, warm=mac(4)), [], [MAC]),
        (state(keep={MAC: 3, WINDOWS: 1}, warm=mac(3), ending=1), [], []),
        (state(keep={WINDOWS: 1}, warm=mac(1), limit=1), [], [MAC]),
        # Callers wait.
        (state(leased=7, waiting=asked(*mac(5))), [MAC], []),
        (state(leased=8, waiting=asked(*mac(5))), [], []),
        (state(waiting=asked(MAC)), [MAC], []),
        (state(waiting=asked(MAC, WINDOWS)), [MAC, WINDOWS], []),
        (state(waiting=asked(*mac(9))), [MAC] * STARTS_WHILE_WAITING, []),
        (state(waiting=asked(*mac(9)), starting=asked(MAC)), [MAC] * (STARTS_WHILE_WAITING - 1), []),
        (state(waiting=asked(*mac(9)), starting=asked(*mac(STARTS_WHILE_WAITING))), [], []),
        (state(waiting=asked(MAC), starting=asked(MAC)), [], []),
        (state(waiting=asked(WINDOWS), starting=asked(MAC)), [WINDOWS], []),
        (state(waiting=asked(*mac(9)), failures=1), [MAC], []),  # two failures at a time are no faster
        (state(keep={}, waiting=asked(MAC)), [MAC], []),  # without a pool, a lease starts its own
        (state(warm=mac(4), waiting=asked(SEEDED)), [SEEDED], []),  # a seed needs a browser of its own
        # At the limit, warm browsers that the callers cannot use give their places.
        (state(limit=4, warm=mac(4), waiting=asked(WINDOWS)), [], [MAC]),
        (state(limit=4, warm=mac(3), ending=1, waiting=asked(WINDOWS)), [], []),
        (state(limit=4, warm=(MAC, LINUX), leased=2, waiting=asked(WINDOWS)), [], [LINUX]),
        (state(limit=4, warm=mac(1), leased=3, waiting=asked(WINDOWS, SEEDED)), [], [MAC]),
    ],
)
def test_the_next_step(now: PoolState, start: list[Shape | Wanted], end: list[Shape]) -> None:
    assert next_step(now) == PoolStep(asked(*start), tuple(end))


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        (state(), 0),
        (state(since_lease=0.0), QUIET_SECONDS),
        (state(since_lease=QUIET_SECONDS + 1), 0),
        (state(since_lease=0.0, waiting=asked(MAC)), 0),
        (state(failures=1), 0.5),
        (state(failures=2, waiting=asked(*mac(3))), 1),
        (state(failures=50), MAX_BACKOFF_SECONDS),
        (state(failures=5000), MAX_BACKOFF_SECONDS),
    ],
)
def test_how_long_the_next_start_waits(now: PoolState, seconds: float) -> None:
    assert pause_before_refill(now) == seconds


def running(now: PoolState) -> int:
    return len(now.warm) + len(now.starting) + now.leased + now.ending


@unhurried
@given(states)
def test_never_more_browsers_than_the_limit(now: PoolState) -> None:
    start = next_step(now).start

    assert not start or running(now) + len(start) <= now.limit


@unhurried
@given(states)
def test_a_caller_gets_a_start_while_there_is_room(now: PoolState) -> None:
    if now.waiting and running(now) < now.limit:
        assert len(now.starting) + len(next_step(now).start) >= 1


@unhurried
@given(states)
def test_only_warm_browsers_are_ended(now: PoolState) -> None:
    assert Counter(next_step(now).end) <= Counter(now.warm)


@unhurried
@given(states)
def test_not_more_starts_at_once_than_the_machine_can_serve(now: PoolState) -> None:
    start = next_step(now).start

    assert not start or len(now.starting) + len(start) <= STARTS_WHILE_WAITING


@unhurried
@given(states)
def test_a_pause_is_bounded(now: PoolState) -> None:
    assert 0 <= pause_before_refill(now) <= MAX_BACKOFF_SECONDS


@unhurried
@given(st.lists(shapes, min_size=1, max_size=RECENT_LEASES), few)
def test_the_shapes_to_keep_are_as_many_as_the_target(recent: list[Shape], target: int) -> None:
    keep = warm_shapes(recent, target)

    assert sum(keep.values()) == target
    assert set(keep) <= set(recent)


@unhurried
@given(st.lists(shapes, min_size=1, max_size=RECENT_LEASES), few, st.lists(shapes, max_size=8), few)
def test_a_quiet_pool_comes_to_rest_with_the_shapes_to_keep(
    recent: list[Shape], target: int, warm: list[Shape], limit: int
) -> None:
    keep, warm = warm_shapes(recent, target), warm[:limit]
    for _ in range(40):
        step = next_step(state(keep=keep, limit=limit, warm=tuple(warm)))
        for shape in step.end:
            warm.remove(shape)
        warm += [order.shape for order in step.start]

    assert next_step(state(keep=keep, limit=limit, warm=tuple(warm))) == PoolStep()
    if limit >= target:
        assert all(warm.count(shape) >= count for shape, count in keep.items())
