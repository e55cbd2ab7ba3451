"""Prices in whole credits. Pure; the operator's price table gives the numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

# The contract's defaults. Rows of the Price table replace them; `signup` follows SIGNUP_CREDITS.
DEFAULT_PRICES: dict[str, int] = {
    "burner_per_10_min": 1,
    "country_surcharge": 1,
    "persistent_month": 30,
    "session": 2,
    "task_per_3_steps": 1,
    "quick_page": 1,
    "sandbox_per_10_min": 1,
}

PERIOD = timedelta(minutes=10)
STEPS_PER_CREDIT = 3


@dataclass(frozen=True, slots=True)
class BurnerRate:
    """`per_period`: for each ten minutes. `surcharge`: once, for a country other than the default."""

    per_period: int
    surcharge: int


def burner_maximum(rate: BurnerRate, *, ttl: timedelta) -> int:
    """The most that a burner with this TTL can cost: the amount of its hold."""
    return _started(ttl) * rate.per_period + rate.surcharge


def burner_cost(rate: BurnerRate, *, ran: timedelta, our_fault: bool) -> int:
    """The cost of a burner that ran for `ran`.

    Every started period counts. After a failure of the service only complete periods count, without the surcharge.
    """
    if our_fault:
        return max(ran, timedelta()) // PERIOD * rate.per_period
    return max(1, _started(ran)) * rate.per_period + rate.surcharge


def task_maximum(per_3_steps: int, *, max_steps: int, surcharge: int = 0) -> int:
    """The most that a task can cost: the amount of its hold. `surcharge` is for its country, once."""
    return -(-max_steps // STEPS_PER_CREDIT) * per_3_steps + surcharge


def step_cost(per_3_steps: int, *, number: int) -> int:
    """The cost of step `number` (from 1): the first of every three steps pays for all three."""
    return per_3_steps if number % STEPS_PER_CREDIT == 1 else 0


def _started(span: timedelta) -> int:
    return -(-max(span, timedelta()) // PERIOD)
