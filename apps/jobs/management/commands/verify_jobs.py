"""Folds the events of every job and compares with its row and its hold. Names what is wrong first; exit status 1."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.jobs.verification import problems


class Command(BaseCommand):
    help = __doc__ or ""

    def handle(self, *args: Any, **options: Any) -> None:
        found = 0
        for problem in problems():
            found += 1
            self.stderr.write(problem)
        if found:
            raise CommandError(f"{found} job(s) are not what their events say.")
        self.stdout.write("Every job is what its events say.")
