"""Rate limits of workspaces: the table of limits, the class of a request, and the bucket's arithmetic. Pure.

A bucket is one number: the time at which it will be full again, in microseconds. Each request moves that time forward
by one token; a request that would move it by more than a whole bucket is refused. This form of the token bucket is the
generic cell rate algorithm (GCRA).
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
        """Microseconds to refill one token."""
        return 60 * MICROSECONDS // self.per_minute

    @property
    def capacity(self) -> int:
        """Microseconds to refill an empty bucket."""
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
# While Redis can't be reached, these classes are refused instead of counted in this process alone.
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
    """The class of a request, which selects its row of the table."""
    method = "GET" if method == "HEAD" else method
    return next(name for wanted, pattern, name in _ROUTES if wanted in ("", method) and pattern.fullmatch(path))


@dataclass(frozen=True, slots=True)
class TakeResult:
    """The result of a request for a token. `backlog`: microseconds until the bucket is full again."""

    allowed: bool
    backlog: int


def take(full_at: int, now: int, limit: Limit) -> TakeResult:
    """Takes one token at `now` from a bucket that is full at `full_at`. The Lua script does the same inside Redis.

    The backlog is at most one whole bucket: after a clock that went back, or a lowered limit, a request waits at most
    the time of a refill.
    """
    backlog = min(max(full_at - now, 0), limit.capacity)
    if backlog + limit.interval > limit.capacity:
        return TakeResult(False, backlog)
    return TakeResult(True, backlog + limit.interval)


@dataclass(frozen=True, slots=True)
class Decision:
    """`wait`: seconds, rounded up, until one more request is allowed than now."""

    allowed: bool
    name: str
    limit: Limit
    remaining: int
    wait: int

    @property
    def headers(self) -> dict[str, str]:
        """draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4: the quota is the burst, the window is the
        time to refill it, and `t` is the same time as `Retry-After`.
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
    """`table` changed by `{"create": {"per_minute": 600, "burst": 100}, "read": "off"}`. Values that a row leaves out
    stay unchanged. Raises ValueError.
    """
    if not isinstance(overrides, dict):
        raise ValueError('must be a JSON object like {"create": {"per_minute": 600, "burst": 100}}')
    unknown = sorted(set(overrides) - set(TABLE))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not a route class; use one of: {', '.join(TABLE)}")
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
    """Parses `BROWSA_RATE_LIMITS`: empty (the default table), `off` (None) or overrides as JSON. Raises ValueError."""
    if text == "off":
        return None
    return overridden(TABLE, json.loads(text)) if text else TABLE
