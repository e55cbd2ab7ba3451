"""The Celery applications of workers and of beat. Messages carry ids only; results are not kept.

celery -A browsa worker
celery -A browsa.celery:clock beat

A worker consumes every queue; `-Q bulk` makes one for batches alone. Each job occupies a thread. The slots of all lanes
(`apps.jobs.kinds`) are 44, which leaves threads for beat's ticks.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from typing import Any

from celery import Celery
from celery.signals import beat_init, import_modules, setup_logging
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError

from apps.core import beat_schedule
from browsa import broker, gc_freeze

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "browsa.settings")


def _configured(application: Celery) -> Celery:
    application.config_from_object("django.conf:settings", namespace="CELERY")
    application.conf.update(
        # One queue for each lane of `apps.jobs.kinds`; ticks use the default one. Each has its own exchange: with
        # Celery's defaults they would share one, and every message would go to all queues.
        task_queues=[
            Queue(name, Exchange(name), routing_key=name)  # type: ignore[no-untyped-call]
            for name in ("default", "bulk", "tasks")
        ],
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
        # In memory: a repeated tick is harmless, so the schedule needs no file.
        beat_scheduler="celery.beat:Scheduler",
        # A tick that is older than two periods expires: a later one does its work.
        beat_schedule={
            name: {"task": name, "schedule": period, "options": {"expires": period.total_seconds() * 2}}
            for name, period in beat_schedule.PERIODS.items()
        },
    )
    return application


_importing = ExitStack()


@import_modules.connect  # type: ignore[untyped-decorator]
def _pause_gc(**kwargs: Any) -> None:
    """Connected before the application connects its own receiver, which imports Django and all apps."""
    _importing.enter_context(gc_freeze.paused_until_loaded())


broker.install()
app = _configured(Celery("browsa"))
app.conf.include = ["tasks.agents", "tasks.jobs", "tasks.billing", "tasks.webhooks", "tasks.core"]
# Beat sends tasks by name. Without importing them, and without Django, it starts in half the time and stays small.
clock = _configured(Celery("browsa-beat", set_as_current=False, fixups=[]))


@import_modules.connect  # type: ignore[untyped-decorator]
def _resume_gc(**kwargs: Any) -> None:
    _importing.close()


@beat_init.connect  # type: ignore[untyped-decorator]
def _send_first_ticks(**kwargs: Any) -> None:
    """Beat would send each first tick a whole period after its start."""
    with suppress(OperationalError):  # the broker can't be reached; beat itself tries again
        for tick in clock.conf.beat_schedule.values():
            clock.send_task(tick["task"], **tick["options"])


@setup_logging.connect  # type: ignore[untyped-decorator]
def _use_django_logging(**kwargs: Any) -> None:
    """Celery configures no logging when this signal has a receiver: Django's settings apply to every process."""
    import logging.config

    from django.conf import settings

    logging.config.dictConfig(settings.LOGGING)
