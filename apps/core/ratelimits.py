"""How many requests a workspace may make: the table, which row a request counts against, the bucket's arithmetic. Pure.

A bucket is one number: the moment at which it will be full again, in microseconds. Each request moves that moment by
one token's worth; a request that would move it further ahead than a whole bucket is refused (the token bucket in the
form that ATM networks know as the generic cell rate algorithm).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

MICROSECONDS = 1_000_000
_MAX_NUMBER = 1_000_000


@dataclass(frozen=True, slots=True)
class Limit:
    """`per_minute` requests in the long run, `burst` of them at once."""

    per_minute: int
    burst: int

    @property
    def interval(self) -> int:
        """Microseconds in which one token comes back."""
        return 60 * MICROSECONDS // self.per_minute

    @property
    def capacity(self) -> int:
        """Microseconds in which an empty bucket fills."""
        return self.burst * self.interval


Table = Mapping[str, Limit | None]  # None: no limit for that class

# The contract's table. An operator changes it with BROWSA_RATE_LIMITS, and for one workspace on its admin page.
TABLE: Table = {
    "create": Limit(60, burst=20),
    "read": Limit(600, burst=100),
    "end": Limit(120, burst=30),
    "credits": Limit(30, burst=10),
    "checkout": Limit(5, burst=2),
    "other": Limit(300, burst=50),
}
# What is refused, rather than counted by this process alone, while nobody can count for all of them.
STRICT = frozenset({"create", "checkout"})

# Method (empty: any), path, class; the first that matches counts.
_ROUTES: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (method, re.compile(path, re.DOTALL), name)
    for method, path, name in (
        ("POST", r"/v1/(agents|tasks|auto|browsers|sandboxes)", "create"),
        ("POST", r"/v1/quick/.*", "create"),
        ("POST", r"/v1/(credits|billing)/checkout", "checkout"),
        ("POST", r"/v1/jobs/[^/]+/cancel", "end"),
        ("DELETE", r"/.*", "end"),
        ("GET", r"/v1/(agents|jobs|browsers)(/.*)?", "read"),
        ("GET", r"/v1/sandboxes(/terminal)?", "read"),
        ("GET", r"/v1/(credits|usage|billing)(/.*)?", "credits"),
        ("", r".*", "other"),
    )
)


def route_class(method: str, path: str) -> str:
    """The row of the table that a request counts against."""
    method = "GET" if method == "HEAD" else method
    return next(name for wanted, pattern, name in _ROUTES if wanted in ("", method) and pattern.fullmatch(path))


@dataclass(frozen=True, slots=True)
class TakeResult:
    """What a request did to its bucket. `backlog`: microseconds until it is full again."""

    allowed: bool
    backlog: int


def take(full_at: int, now: int, limit: Limit) -> TakeResult:
    """One request at `now` from a bucket that is full at `full_at`. The Lua script does the same inside Redis.

    A bucket is never emptier than empty: a clock that went back, or a limit that was lowered, delays nobody for longer
    than it takes to fill.
    """
    backlog = min(max(full_at - now, 0), limit.capacity)
    if backlog + limit.interval > limit.capacity:
        return TakeResult(False, backlog)
    return TakeResult(True, backlog + limit.interval)


@dataclass(frozen=True, slots=True)
class Decision:
    """`wait`: whole seconds, rounded up, until one more request is allowed than now."""

    allowed: bool
    name: str
    limit: Limit
    remaining: int
    wait: int

    @property
    def headers(self) -> dict[str, str]:
        """draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4: the quota is the burst, its window the time in
        which it refills; `t` points at the same moment as `Retry-After`.
        """
        window = _rounded_up(self.limit.capacity)
        return {
            "RateLimit-Policy": f'"{self.name}";q={self.limit.burst};w={window}',
            "RateLimit": f'"{self.name}";r={self.remaining};t={self.wait}',
        }


def decide(name: str, limit: Limit, taken: TakeResult) -> Decision:
    remaining = (limit.capacity - taken.backlog) // limit.interval
    wait = taken.backlog - (limit.capacity - (remaining + 1) * limit.interval)
    return Decision(taken.allowed, name, limit, remaining, max(1, _rounded_up(wait)))


def _rounded_up(microseconds: int) -> int:
    return -(-microseconds // MICROSECONDS)


def overridden(table: Table, overrides: object) -> Table:
    """`table` with `{"create": {"per_minute": 600, "burst": 100}, "read": "off"}` over it; what is left out of a row
    stays as it was. Raises ValueError.
    """
    if not isinstance(overrides, dict):
        raise ValueError('must be a JSON object like {"create": {"per_minute": 600, "burst": 100}}')
    unknown = sorted(set(overrides) - set(TABLE))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no route class; there are: {', '.join(TABLE)}")
    return {**table, **{name: _overridden_limit(name, table[name], row) for name, row in overrides.items()}}


def _overridden_limit(name: str, before: Limit | None, row: object) -> Limit | None:
    if row == "off":
        return None
    if not isinstance(row, dict) or not row.keys() <= {"per_minute", "burst"}:
        raise ValueError(f'{name!r} must be "off" or an object with per_minute and burst')
    usual = before or TABLE[name] or Limit(_MAX_NUMBER, _MAX_NUMBER)
    values = {"per_minute": usual.per_minute, "burst": usual.burst, **row}
    for field, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MAX_NUMBER:
            raise ValueError(f"{name}.{field} must be a whole number from 1 to {_MAX_NUMBER}, not {value!r}")
    return Limit(**values)


def parse(text: str) -> Table | None:
    """`BROWSA_RATE_LIMITS`: empty for the table as it is, `off` (None) or overrides as JSON. Raises ValueError."""
    if text == "off":
        return None
    return overridden(TABLE, json.loads(text)) if text else TABLE
