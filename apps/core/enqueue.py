"""Enqueues tasks for the workers after the current transaction commits.

A message is a hint (PostgreSQL is the truth): when the broker can't be reached the request still succeeds, and the
next sweep does the work.
"""

from __future__ import annotations

import functools
import logging

from celery import Celery
from django.conf import settings
from django.db import transaction
from kombu.exceptions import OperationalError

log = logging.getLogger(__name__)


def on_commit(task: str, *ids: str, queue: str | None = None) -> None:
    """Sends `task` by name with ids only, after the commit (at once when there is no transaction)."""

    def send() -> None:
        try:
            _producer().send_task(task, args=ids, queue=queue, ignore_result=True, retry=False)
        except (OperationalError, OSError) as error:
            log.warning("not enqueued, a sweep will do it: %s", task, extra={"task": task, "cause": str(error)})

    transaction.on_commit(send)


@functools.cache
def _producer() -> Celery:
    app = Celery("browsa-producer", broker=settings.CELERY_BROKER_URL, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        task_default_queue=settings.CELERY_TASK_DEFAULT_QUEUE,
        broker_transport_options={
            "socket_connect_timeout": 2,
            "socket_timeout": 5,
            # The request does not wait for an unreachable broker; the default would wait for six seconds.
            "max_retries": 0,
            "interval_start": 0,
            "interval_step": 0,
            "interval_max": 0,
        },
    )
    return app
