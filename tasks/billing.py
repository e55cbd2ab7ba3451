"""Beat's ticks over money."""

from __future__ import annotations

from celery import shared_task

from apps.billing.services import releasing
from apps.core.ticks import run_tick


@shared_task(name="billing.release_expired_holds")
def release_expired_holds() -> None:
    run_tick("billing.release_expired_holds", releasing.release_expired)
