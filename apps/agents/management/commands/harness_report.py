"""Writes a page with the trends of the detection harness: the runs of each shape, and what failed in the newest."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.template.loader import render_to_string
from django.utils import timezone

from apps.agents import selectors
from apps.agents.harness_signal import trends


class Command(BaseCommand):
    help = __doc__ or ""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="the HTML file to write")
        parser.add_argument("--days", type=int, default=90, help="how far back (default: 90)")

    def handle(self, *args: Any, file: Path, days: int, **options: Any) -> None:
        now = timezone.now()
        verdicts = selectors.verdicts(since=now - timedelta(days=days))
        context = {"shapes": trends(verdicts), "days": days, "now": now}
        file.write_text(render_to_string("agents/harness_report.html", context), encoding="utf-8")
        self.stdout.write(str(file))
