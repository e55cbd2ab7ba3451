"""What tests of jobs that read pages share: the API on a socket, and a worker in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import redis
from django.conf import LazySettings
from django.conf import settings as django_settings

from tests.cast import Member, join
from tests.fakes.pages import FakePages
from tests.fakes.runner import FakeRunner
from tests.fakes.served import ServedApi
from tests.patience import PATIENCE


@pytest.fixture(scope="package", autouse=True)
def _long_time_limits() -> Iterator[None]:
    """The broker, Redis and the connections to the runner get more than a few seconds to answer, or to end."""
    from apps.core import enqueue
    from apps.jobs.tasks.llm import keys
    from apps.jobs.worker import worker

    patience = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE}
    enqueue._producer.cache_clear()
    enqueue._producer().conf.broker_transport_options.update(patience)
    with (
        redis.Redis.from_url(django_settings.REDIS_URL, **patience) as server,
        mock.patch.object(keys, "_redis", lambda: server),
        mock.patch.object(worker, "DISCONNECT_SECONDS", PATIENCE),
    ):
        yield
    enqueue._producer.cache_clear()


@pytest.fixture(scope="session")
def _served(django_db_setup: None) -> Iterator[ServedApi]:
    with ServedApi() as api:
        yield api


@pytest.fixture
def api(_served: ServedApi, transactional_db: None) -> ServedApi:
    return _served


@pytest.fixture
def carol(transactional_db: None) -> Member:
    """Has a workspace with 100 credits, which all connections see."""
    return join("carol")


@pytest.fixture
def short_claims(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats every tenth of a second, none of which is too late, however long the machine stands still."""
    from apps.jobs.worker import claim_heartbeat

    settings.JOB_CLAIM_SECONDS = 0.3
    monkeypatch.setattr(claim_heartbeat, "time", SimpleNamespace(monotonic=lambda: 0.0))


@pytest.fixture
def pages(runner: FakeRunner) -> FakePages:
    return runner.pages


@pytest.fixture
def books_add_up(transactional_db: None) -> Iterator[None]:
    """Checks the ledger and the jobs' event logs after the test."""
    from apps.billing import verification as ledger
    from apps.jobs import verification as event_logs

    yield
    assert list(ledger.problems()) == []
    assert list(event_logs.problems()) == []


Work = Callable[[Any], None]


@pytest.fixture
def work(transactional_db: None) -> Iterator[Work]:
    """Does a job, given its body, in a worker of this process; returns when it is over."""
    import uuid

    from apps.jobs.worker.worker import Worker

    worker = Worker(owner="the tests' worker")
    yield lambda body: worker.run(uuid.UUID(body["id"]))
    worker.close()
