"""Beat's ticks for core."""

from __future__ import annotations

from celery import shared_task

from apps.core import idempotency_records
from apps.core.ticks import run_tick


@shared_task(name="core.purge_idempotency_keys")
def purge_idempotency_keys() -> None:
    run_tick("core.purge_idempotency_keys", idempotency_records.purge)
