"""A task's key while Redis is down, briefly or for longer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis
from asgiref.sync import async_to_sync
from django.conf import settings

from apps.jobs.tasks import services
from apps.jobs.tasks.executor import TaskExecution
from apps.jobs.tasks.llm import keys
from apps.jobs.worker import retry
from apps.jobs.worker.executor import Failed, Run
from tests.cast import Member
from tests.jobs.making import claimed

TRIES = len(retry.RETRY_SECONDS)

pytestmark = pytest.mark.django_db(transaction=True)


class AwayAtFirst:
    """A Redis that does not answer so many times."""

    def __init__(self, times: int) -> None:
        self.left = times

    def getex(self, *arguments: Any, **options: Any) -> object:
        self.left -= 1
        if self.left >= 0:
            raise redis.ConnectionError("Connection refused")
        with redis.Redis.from_url(settings.REDIS_URL) as server:
            return server.getex(*arguments, **options)


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def be_away(times: int) -> None:
        server = AwayAtFirst(times)
        monkeypatch.setattr(keys, "_redis", lambda: server)

    monkeypatch.setattr(retry, "RETRY_SECONDS", (0.0,) * TRIES)
    return be_away


def begun(member: Member) -> TaskExecution:
    params = {"task": "x", "max_steps": 7, "wallclock_seconds": 600}
    job = services.begin(workspace_id=member.workspace.id, params=params, key="sk-1")
    return TaskExecution(Run(job=job, claim=claimed(job), cancelled=asyncio.Event()))


def test_it_is_waited_for(carol: Member, away: Callable[[int], None]) -> None:
    task = begun(carol)
    away(TRIES)

    assert async_to_sync(task._model_key)() == "sk-1"


def test_at_last_the_task_fails_and_costs_nothing(carol: Member, away: Callable[[int], None]) -> None:
    task = begun(carol)
    away(1 + TRIES)

    outcome = async_to_sync(task.execute)()

    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.used) == ("INTERNAL_ERROR", 0)
    assert "Redis is away" in outcome.message
