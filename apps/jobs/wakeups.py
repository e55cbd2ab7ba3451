"""Hints that something happened to a job."""

from __future__ import annotations

import uuid

from django.db import transaction


def publish_on_commit(job_id: uuid.UUID) -> None:
    transaction.on_commit(lambda: None)
