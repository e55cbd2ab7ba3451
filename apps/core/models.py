"""The last run of each beat tick (for readiness and `beat_status`), and the records of idempotency keys."""

from __future__ import annotations

from django.db import models


class BeatTick(models.Model):
    """One row for each tick. A tick that raised keeps its old `finished_at` and stores the name of its error."""

    name = models.CharField(max_length=100, primary_key=True)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True, default="")

    def __str__(self) -> str:
        return self.name


class IdempotencyKey(models.Model):
    """A request with an Idempotency-Key: without `status` while it executes, then with its response.

    Only `idempotency` and `idempotency_records` read and write it. The request's body is not stored.
    """

    id = models.CharField(max_length=64, primary_key=True, help_text="SHA-256 of workspace, method, path and key.")
    workspace_id = models.UUIDField()
    path = models.CharField(max_length=200)
    fingerprint = models.CharField(max_length=64, help_text="A keyed hash of the body.")
    attempt = models.UUIDField(help_text="Who may write this record: a new value for each execution.")
    lease_until = models.DateTimeField(help_text="Until when an execution may take to begin its work.")
    subject_kind = models.CharField(max_length=20, blank=True, help_text="What the request made; empty: nothing yet.")
    subject_id = models.CharField(max_length=64, blank=True)
    status = models.PositiveSmallIntegerField(null=True)
    headers = models.JSONField(null=True)
    body = models.BinaryField(null=True, help_text="The answer's bytes, compressed.")
    created_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.path}: {self.status or 'in progress'}"
