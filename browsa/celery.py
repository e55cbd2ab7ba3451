"""The Celery applications of workers and of beat. Messages carry ids only; results are not kept.

celery -A browsa worker
celery -A browsa.celery:clock beat

A worker takes from every queue; `-Q bulk` makes one for batches alone. Each job holds a thread, and the slots of the
lanes (`apps.jobs.kinds`) come to 44, which leaves some for beat's ticks.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from datetime import timedelta
from typing import Any

from celery import Celery
from celery.signals import beat_init, import_modules, setup_logging
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError

from apps.core import beat_schedule
from browsa import broker, gc_freeze

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "browsa.settings")


def _tick(task: str, period: timedelta) -> dict[str, Any]:
    # A tick that waited longer than its own period is stale: the next one does its work.
    return {"task": task, "schedule": period, "options": {"expires": period.total_seconds() * 2}}


def _queue(name: str) -> Queue:
    """One for each lane of `apps.jobs.kinds`; ticks are in the default one. Each has its own exchange: by Celery's
    defaults they would share one, and every message would be in all of them.
    """
    return Queue(name, Exchange(name), routing_key=name)  # type: ignore[no-untyped-call]


def _configured(application: Celery) -> Celery:
    application.config_from_object("django.conf:settings", namespace="CELERY")
    application.conf.update(
        task_queues=[_queue(name) for name in ("default", "bulk", "tasks")],
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        result_backend=None,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_pool="browsa.pool:ThreadPool",
        worker_concurrency=48,
        worker_prefetch_multiplier=1,
        worker_send_task_events=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"socket_connect_timeout": 2, "visibility_timeout": 3600},
        timezone="UTC",
        # In memory: a tick that is due again is harmless, so the schedule needs no file.
        beat_scheduler="celery.beat:Scheduler",
        beat_schedule={name: _tick(name, period) for name, period in beat_schedule.PERIODS.items()},
    )
    return application


_importing = ExitStack()


@import_modules.connect  # type: ignore[untyped-decorator]
def _pause_gc(**kwargs: Any) -> None:
    """Before the application connects its own, which imports Django and all apps."""
    _importing.enter_context(gc_freeze.paused_until_loaded())


broker.install()
app = _configured(Celery("browsa"))
app.conf.include = ["tasks.agents", "tasks.jobs", "tasks.billing", "tasks.webhooks", "tasks.core"]
# Beat names tasks and knows none: without them, and without Django, it starts in half the time and stays small.
clock = _configured(Celery("browsa-beat", set_as_current=False, fixups=[]))


@import_modules.connect  # type: ignore[untyped-decorator]
def _resume_gc(**kwargs: Any) -> None:
    _importing.close()


@beat_init.connect  # type: ignore[untyped-decorator]
def _send_first_ticks(**kwargs: Any) -> None:
    """Beat counts from its start, so the first ticks would come a whole period after it."""
    with suppress(OperationalError):  # the broker is away, and beat goes on trying by itself
        for tick in clock.conf.beat_schedule.values():
            clock.send_task(tick["task"], **tick["options"])


@setup_logging.connect  # type: ignore[untyped-decorator]
def _use_django_logging(**kwargs: Any) -> None:
    """Celery sets up no logging of its own when somebody listens here: Django's settings hold for every process."""
    import logging.config

    from django.conf import settings

    logging.config.dictConfig(settings.LOGGING)
