"""What tests of jobs that read pages share: the API on a socket, and a worker in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cast import Member, join
from tests.fakes.pages import FakePages
from tests.fakes.runner import FakeRunner
from tests.fakes.served import ServedApi


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
def pages(runner: FakeRunner) -> FakePages:
    return runner.pages


Work = Callable[[Any], None]


@pytest.fixture
def work(transactional_db: None) -> Iterator[Work]:
    """Does a job, given its body, in a worker of this process; returns when it is over."""
    import uuid

    from apps.jobs.running import Worker

    worker = Worker(owner="the tests' worker")
    yield lambda body: worker.run(uuid.UUID(body["id"]))
    worker.close()
