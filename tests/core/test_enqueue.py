"""Messages are sent after the commit. A broker that is down is no error."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import redis
from django.conf import LazySettings, settings
from django.db import transaction

from apps.core import enqueue
from tests.patience import PATIENCE


@pytest.fixture
def queue() -> Iterator[redis.Redis]:
    """The broker's queue, with a long time limit."""
    enqueue._producer.cache_clear()
    patience = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE}
    enqueue._producer().conf.broker_transport_options.update(patience)
    with redis.Redis.from_url(settings.REDIS_URL, **patience) as server:
        server.delete("default")
        yield server
    enqueue._producer.cache_clear()


@pytest.mark.django_db(transaction=True)
def test_a_message_leaves_with_the_commit_and_carries_ids_only(queue: redis.Redis) -> None:
    with transaction.atomic():
        enqueue.on_commit("jobs.run", "252e8eac")
        assert queue.llen("default") == 0

    message = json.loads(queue.lpop("default") or "{}")
    assert message["headers"]["task"] == "jobs.run"
    assert message["headers"]["argsrepr"] == "('252e8eac',)"


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_is_not_enqueued(queue: redis.Redis) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        enqueue.on_commit("jobs.run", "252e8eac")
        raise ZeroDivisionError

    assert queue.llen("default") == 0


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_down_is_logged_and_no_error(settings: LazySettings, caplog: pytest.LogCaptureFixture) -> None:
    settings.CELERY_BROKER_URL = "redis+socket:///nonexistent/redis.sock"
    enqueue._producer.cache_clear()

    enqueue.on_commit("jobs.run", "252e8eac")

    assert "a sweep will do it" in caplog.text
    enqueue._producer.cache_clear()
