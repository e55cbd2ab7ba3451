"""`manage.py beat_status`: when each tick of beat last ran and how late it is."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from apps.core.beat_schedule import PERIODS
from apps.core.ticks import TickState, states
from apps.core.times import rfc3339

_COLUMNS = "{:<32} {:>8}  {:<24}  {:<10}  {}"


class Command(BaseCommand):
    help = "Shows when each tick of beat last ran and how late it is. Exit status 1 when one is late or has failed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object per line for each tick")

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        ticks = states(PERIODS)
        if not options["json"]:
            self.stdout.write(_COLUMNS.format("tick", "every", "last finished", "late", "failed with"))
        for tick in ticks:
            self.stdout.write(_as_json(tick, now) if options["json"] else _as_line(tick, now))
        bad = [tick.name for tick in ticks if tick.error or tick.late_by(now) or tick.finished_at is None]
        if bad:
            raise CommandError(f"late, failing or never finished: {', '.join(bad)}")


def _as_line(tick: TickState, now: datetime) -> str:
    late = tick.late_by(now)
    return _COLUMNS.format(
        tick.name,
        _seconds(tick.period),
        "never" if tick.finished_at is None else rfc3339(tick.finished_at),
        _seconds(late) if late else "-",
        tick.error or "-",
    ).rstrip()


def _as_json(tick: TickState, now: datetime) -> str:
    return json.dumps(
        {
            "tick": tick.name,
            "period_seconds": tick.period.total_seconds(),
            "started_at": tick.started_at and rfc3339(tick.started_at),
            "finished_at": tick.finished_at and rfc3339(tick.finished_at),
            "late_seconds": round(tick.late_by(now).total_seconds(), 1),
            "error": tick.error,
        }
    )


def _seconds(span: timedelta) -> str:
    return f"{span.total_seconds():.0f} s"
