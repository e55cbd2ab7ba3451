"""Recomputes every ledger: hashes, balances, holds. Prints the first wrong row of each workspace; exit status 1."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.billing.verification import problems


class Command(BaseCommand):
    help = __doc__ or ""

    def handle(self, *args: Any, **options: Any) -> None:
        found = list(problems())
        for problem in found:
            self.stderr.write(problem)
        if found:
            raise CommandError(f"The ledger does not add up in {len(found)} workspace(s).")
        self.stdout.write("The ledger adds up.")
