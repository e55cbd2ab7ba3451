"""`manage.py check_egress`: dials every upstream proxy from the runner and says what works."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.agents.control_client import runner_client
from apps.core.errors import ApiError
from runner.wire import ExitCheck

_COLUMNS = "{:<8} {:<40} {:>8}  {:<24} {}"


class Command(BaseCommand):
    help = (
        "Dials every upstream proxy of EGRESS_COUNTRIES from the runner: latency, exit address (with EGRESS_ECHO_URL) "
        "and what is wrong. Exit status 1 when one does not work."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object per line for each way out")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            checks = runner_client().check_egress().checks
        except ApiError as error:
            raise CommandError(error.message) from error
        if not options["json"]:
            self.stdout.write(_COLUMNS.format("country", "way out", "latency", "exit address", "result"))
        for check in checks:
            self.stdout.write(json.dumps(dataclasses.asdict(check)) if options["json"] else _as_line(check))
        failed = [check for check in checks if check.problem]
        if failed:
            left = {check.country for check in checks if not check.problem}
            cut_off = list(dict.fromkeys(check.country for check in failed if check.country not in left))
            summary = f"{len(failed)} of {len(checks)} ways out do not work"
            raise CommandError(f"{summary}; countries without any: {', '.join(cut_off)}" if cut_off else summary)


def _as_line(check: ExitCheck) -> str:
    latency = "-" if check.milliseconds is None else f"{check.milliseconds} ms"
    return _COLUMNS.format(check.country, check.way, latency, check.address or "-", check.problem or "ok")
