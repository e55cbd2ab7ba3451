"""When each beat tick last ran. Readiness and `beat_status` read it."""

from __future__ import annotations

from django.db import models


class BeatTick(models.Model):
    """One row for each tick of the beat table. A tick that raised keeps its old `finished_at` and says why."""

    name = models.CharField(max_length=100, primary_key=True)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True, default="")

    def __str__(self) -> str:
        return self.name
