"""How long tests wait for what must happen without a promised time.

A machine that is used by others may take twenty times as long as an idle one. What does have a promised time (a crash
is told within two seconds, a dead runner's browsers are gone after five) says so where it is tested; `keeps_to` and
`cpu_seconds` are for measuring that on a machine which may stand still for seconds at any moment.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 90.0  # seconds

T = TypeVar("T")


def until(condition: Callable[[], T], seconds: float = PATIENCE, *, what: str = "it") -> T:
    """The first true value of `condition`. Fails after `seconds`.

    Asks ever more rarely: what is asked is often the stack itself, which has better things to do.
    """
    end = time.monotonic() + seconds
    pause = 0.02
    while True:
        asked = time.monotonic()  # before it is: we may be held up after the answer
        if value := condition():
            return value
        assert asked < end, f"{what} did not happen in {seconds:g} s"
        select.select([], [], [], pause)
        pause = min(0.2, 1.3 * pause)


def keeps_to(seconds: float, measure: Callable[[], float]) -> None:
    """It is measured to be below `seconds`; if not, because the machine may have stood still, twice more."""
    took = [measure()]
    if took[0] >= seconds:
        took += [measure(), measure()]
    assert sorted(took)[len(took) // 2] < seconds, (
        f"it took {', '.join(f'{one:.2f}' for one in took)} s, not {seconds:g}"
    )


def cpu_seconds(act: Callable[[], object]) -> float:
    """How long this thread is at work on `act`; others may be in between. The least of three."""
    return min(_cpu_seconds(act) for _ in range(3))


def _cpu_seconds(act: Callable[[], object]) -> float:
    began = time.thread_time()
    act()
    return time.thread_time() - began
