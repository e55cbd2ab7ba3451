"""How long tests wait for what must happen, and for which nobody is promised a time.

A machine that is used by others may take twenty times as long as an idle one. What does have a promised time (a crash
is told within two seconds, a dead runner's browsers are gone after five) says so where it is tested.
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
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not happen in {seconds:g} s"
        select.select([], [], [], pause)
        pause = min(0.2, 1.3 * pause)
    return value
