"""Starts and stops a worker's deliverer, and beat's ticks for webhooks. Deliveries themselves are not tasks."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from celery.signals import worker_ready, worker_shutdown, worker_shutting_down
from django.conf import settings

from apps.core.file_limits import allow_many_sockets
from apps.core.ticks import run_tick
from apps.webhooks.deliverer import this_deliverer
from apps.webhooks.services import owner_notices, retention

# A warm shutdown waits for running attempts: longer than the timeout of one.
_GRACE_SECONDS = 16.0
# A worker ends two seconds after a cold shutdown begins.
_COLD_GRACE_SECONDS = 1.0


@shared_task(name="webhooks.tell_owners")
def tell_owners() -> None:
    run_tick("webhooks.tell_owners", owner_notices.notify)


@shared_task(name="webhooks.purge")
def purge() -> None:
    run_tick("webhooks.purge", retention.purge)


@worker_ready.connect
def _start_deliverer(sender: Any, **kwargs: Any) -> None:
    """Only in workers that also run ticks: a worker for batches alone delivers no webhooks."""
    if settings.CELERY_TASK_DEFAULT_QUEUE in sender.app.amqp.queues.consume_from:
        allow_many_sockets()
        this_deliverer().start()


@worker_shutting_down.connect
def _stop_claiming(how: str = "Warm", **kwargs: Any) -> None:
    this_deliverer().stop(grace=_COLD_GRACE_SECONDS if how == "Cold" else 0)


@worker_shutdown.connect
def _finish_attempts(**kwargs: Any) -> None:
    this_deliverer().stop(grace=_GRACE_SECONDS)
