"""When an identity's months begin: on the day and at the time it began, or on a shorter month's last day. Pure."""

from __future__ import annotations

import calendar
from datetime import datetime


def month_after(anchor: datetime, count: int) -> datetime:
    """`count` months after `anchor`: always counted from it, so that 31 January, 28 February, 31 March."""
    year, month = divmod(anchor.year * 12 + anchor.month - 1 + count, 12)
    last_day = calendar.monthrange(year, month + 1)[1]
    return anchor.replace(year=year, month=month + 1, day=min(anchor.day, last_day))


def next_month(anchor: datetime, *, after: datetime) -> datetime:
    """The first beginning of a month of `anchor`'s that is later than `after`. The first month begins at `anchor`."""
    count = max((after.year - anchor.year) * 12 + after.month - anchor.month, 1)
    # Counted by the calendar's months alone: that may be the one before, or the very one after which is asked.
    while month_after(anchor, count) <= after:
        count += 1
    return month_after(anchor, count)
