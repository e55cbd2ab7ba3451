"""Which browsers to start and to end, and when. Pure functions over numbers; `runner.pool` acts on them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from runner.wire import OsFamily

# A start waits for other processes a third of its time, so one more than the cores keeps them busy.
STARTS_WHILE_WAITING = (os.cpu_count() or 1) + 1
QUIET_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 10.0
RECENT_LEASES = 20  # how many leases decide which shapes stay warm


class Shape(NamedTuple):
    """What most leases ask for. Any warm browser of a shape serves them."""

    os_family: OsFamily
    country: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """The browser that one lease asks for. With a seed or overrides it is started for that lease alone."""

    shape: Shape
    seed: str = ""
    overrides: tuple[tuple[str, str], ...] = ()

    @property
    def is_plain(self) -> bool:
        return not self.seed and not self.overrides


@dataclass(frozen=True, slots=True)
class PoolState:
    """`keep` is how many browsers of each shape to keep warm. `ending` counts browsers that were killed and still run.

    `leased` does not contain them. `since_lease`: seconds since the last browser was handed out.
    """

    keep: Mapping[Shape, int]
    limit: int
    warm: tuple[Shape, ...] = ()
    starting: tuple[Wanted, ...] = ()
    waiting: tuple[Wanted, ...] = ()
    leased: int = 0
    ending: int = 0
    failures: int = 0
    since_lease: float = float("inf")


class PoolStep(NamedTuple):
    """Browsers to start, and shapes of which to end one warm browser each."""

    start: tuple[Wanted, ...] = ()
    end: tuple[Shape, ...] = ()


def warm_shapes(recent: Sequence[Shape], target: int) -> dict[Shape, int]:
    """How many browsers of each shape to keep warm: `target` of them, shared as the recent leases are.

    Each shape gets the whole part of its share. What is left goes to the largest remainders, then to the latest lease.
    """
    demand = Counter(reversed(recent))
    shares = {shape: divmod(target * count, len(recent)) for shape, count in demand.items()}
    keep = {shape: whole for shape, (whole, _remainder) in shares.items()}
    left = target - sum(keep.values())
    for shape in sorted(shares, key=lambda shape: -shares[shape][1])[:left]:
        keep[shape] += 1
    return {shape: count for shape, count in keep.items() if count}


def next_step(state: PoolState) -> PoolStep:
    """What to do now. One browser starts at a time, or STARTS_WHILE_WAITING while a caller waits."""
    room = state.limit - len(state.warm) - len(state.starting) - state.leased - state.ending
    if not state.waiting:
        return _refill(state, room)
    unserved = list(state.waiting)
    for order in state.starting:
        if order in unserved:
            unserved.remove(order)
    parallel = 1 if state.failures else STARTS_WHILE_WAITING
    wanted = unserved[: max(0, parallel - len(state.starting))]
    start = wanted[: max(0, room)]
    # At the limit, warm browsers give their places to callers that cannot use them.
    return PoolStep(tuple(start), _least_needed(state)[: max(0, len(wanted) - len(start) - state.ending)])


def _refill(state: PoolState, room: int) -> PoolStep:
    warm = Counter(state.warm)
    missing = [shape for shape, count in state.keep.items() if warm[shape] < count]
    if not missing or state.starting or state.ending:
        return PoolStep()
    if room > 0 and len(state.warm) < sum(state.keep.values()):
        return PoolStep((Wanted(missing[0]),))
    surplus = tuple(shape for shape in _least_needed(state) if warm[shape] > state.keep.get(shape, 0))
    return PoolStep(end=surplus[:1])


def _least_needed(state: PoolState) -> tuple[Shape, ...]:
    """The shapes of the warm browsers; first those of which there are more than to keep, then the oldest."""
    found, kept = [], Counter(state.keep)
    for shape in reversed(state.warm):  # the oldest first in `warm`
        kept[shape] -= 1
        found.append((kept[shape] >= 0, shape))
    return tuple(shape for _kept, shape in sorted(reversed(found), key=lambda item: item[0]))


def pause_before_refill(state: PoolState) -> float:
    """Seconds to wait before the next start: after a failure, or while a new lease loads its first page."""
    if state.failures:
        return min(MAX_BACKOFF_SECONDS, 0.25 * 2.0 ** min(state.failures, 10))  # 2.0**1024 would overflow
    if state.waiting:
        return 0.0
    return max(0.0, QUIET_SECONDS - state.since_lease)
