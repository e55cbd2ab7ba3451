"""Runs the detection harness now, on one shape or on all shapes in use, and prints the verdict of each site."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.agents import identity
from apps.agents.control_client import runner_client
from apps.agents.harness_driver import HarnessError
from apps.agents.harness_signal import signal_of
from apps.agents.services import harness
from apps.core.errors import ApiError


class Command(BaseCommand):
    help = __doc__ or ""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--os-type", choices=list(identity.FAMILIES), help="only this shape; macOS otherwise")
        parser.add_argument("--country", choices=list(settings.EGRESS_COUNTRIES), help="the default country otherwise")

    def handle(self, *args: Any, os_type: str | None, country: str | None, **options: Any) -> None:
        if os_type is None and country is None:
            shapes = harness.shapes()
        else:
            shapes = [(os_type or identity.DEFAULT_OS_TYPE, country or settings.DEFAULT_COUNTRY)]
        for shape in shapes:
            try:
                verdicts = harness.run(os_type=shape[0], country=shape[1], runner=runner_client())
            except (ApiError, HarnessError) as error:
                raise CommandError(f"{shape[0]} {shape[1]}: {error}") from error
            signal = signal_of(verdicts)
            assert signal is not None  # a run has verdicts
            self.stdout.write(f"{shape[0]} {shape[1]}: {signal.sites_passed} of {len(signal.sites)} sites passed")
            for site in signal.sites:
                exceptions = f" (exceptions: {', '.join(site.listed)})" if site.listed else ""
                self.stdout.write(f"  {site.name}: {'passed' if site.passed else ', '.join(site.failed)}{exceptions}")
