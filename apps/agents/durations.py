"""How long a burner lives. Pure."""

from __future__ import annotations

import re

MIN_SECONDS = 300
MAX_SECONDS = 3600
DEFAULT_SECONDS = 300

_UNITS = {"s": 1, "m": 60, "h": 3600}


def parse(text: str) -> int:
    """Seconds of `"300s"`, `"5m"` or `"1h"`. Raises ValueError."""
    found = re.fullmatch(r"([0-9]{1,9})([smh])", text)
    if found is None:
        raise ValueError('must be a number and s, m or h, like "300s", "5m" or "1h"')
    return check(int(found[1]) * _UNITS[found[2]])


def check(seconds: int) -> int:
    """Raises ValueError when out of range."""
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise ValueError(f"must be from {MIN_SECONDS} seconds (5m) to {MAX_SECONDS} seconds (1h)")
    return seconds
