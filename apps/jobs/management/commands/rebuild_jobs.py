"""Rewrites the rows of jobs from their events, where they differ."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from apps.jobs.verification import rebuild


class Command(BaseCommand):
    help = __doc__ or ""

    def handle(self, *args: Any, **options: Any) -> None:
        rebuilt = 0
        for job_id in rebuild():
            rebuilt += 1
            self.stdout.write(f"job {job_id} was rewritten")
        self.stdout.write(f"{rebuilt} job(s) were rewritten.")
