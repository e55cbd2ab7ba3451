"""Who listens for news of jobs."""

from __future__ import annotations

import asyncio

import pytest

from apps.jobs.waiting.job_notifications import JobNotifications
from tests.patience import PATIENCE


@pytest.mark.django_db(transaction=True)
async def test_the_listener_ends_whenever_it_is_stopped() -> None:
    """A cancellation that is swallowed would keep a worker from ending."""
    for moment in range(60):
        notifications = JobNotifications()
        await asyncio.sleep(moment * 0.0002)
        for task in notifications._tasks:
            task.cancel()
        done, pending = await asyncio.wait(notifications._tasks, timeout=PATIENCE)
        assert not pending, f"{moment * 0.2:.1f} ms after its start"
        assert all(task.cancelled() for task in done)
