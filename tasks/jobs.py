"""The task that runs a job, and beat's ticks for jobs."""

from __future__ import annotations

import uuid
from typing import Any

from celery import shared_task
from celery.signals import worker_init, worker_shutting_down

from apps.core.ticks import run_tick
from apps.jobs.services import sweeps
from apps.jobs.tasks import sweeps as task_sweeps
from apps.jobs.worker.worker import this_worker


@shared_task(name="jobs.run")
def run(job_id: str) -> None:
    this_worker().run(uuid.UUID(job_id))


@shared_task(name="jobs.relay")
def relay() -> None:
    run_tick("jobs.relay", sweeps.relay)


@shared_task(name="jobs.reap")
def reap() -> None:
    run_tick("jobs.reap", sweeps.reap)


@shared_task(name="jobs.end_overdue")
def end_overdue() -> None:
    run_tick("jobs.end_overdue", task_sweeps.end_overdue)


@shared_task(name="jobs.purge_screenshots")
def purge_screenshots() -> None:
    run_tick("jobs.purge_screenshots", task_sweeps.purge_screenshots)


@shared_task(name="jobs.purge_expired_pages")
def purge_expired_pages() -> None:
    run_tick("jobs.purge_expired_pages", sweeps.purge_expired_pages)


@worker_init.connect
def _create_worker(**kwargs: Any) -> None:
    """Creates the worker before several first jobs could do so at once."""
    this_worker()


@worker_shutting_down.connect
def _stop_worker(how: str = "Warm", **kwargs: Any) -> None:
    this_worker().stop(at_once=how == "Cold")
