"""Liveness says that the process answers, readiness that an agent could be provisioned."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
import redis
from django.conf import LazySettings
from django.conf import settings as django_settings

from apps.core import health
from apps.core.models import BeatTick
from apps.core.ticks import run_tick
from runner.wire import CountryEgress, JailStatus
from tests.cast import call
from tests.fakes.runner import FakeRunner
from tests.patience import PATIENCE

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("still")]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Redis may take its time to say how it is."""
    with redis.Redis.from_url(django_settings.REDIS_URL, socket_timeout=PATIENCE) as server:
        monkeypatch.setattr(health, "_redis", lambda: server)
        yield


def test_alive(db: None) -> None:
    assert call("GET", "/healthz").status == 200


def test_ready_when_every_part_is(runner: FakeRunner) -> None:
    run_tick("a tick", lambda: None)

    reply = call("GET", "/readyz")

    assert reply.status == 200
    assert {name: check["ok"] for name, check in reply.body["checks"].items()} == {
        "database": True,
        "redis": True,
        "worker_and_beat": True,
        "runner": True,
        "webhooks": True,
    }


def test_ready_says_how_browsers_are_confined(runner: FakeRunner) -> None:
    runner.jail = JailStatus(mode="bwrap", users="own", limits=["cgroup v2: memory, pids, cpu", "rlimits", "files"])
    run_tick("a tick", lambda: None)

    told = call("GET", "/readyz").body["checks"]["runner"]["jail"]

    assert told == {"mode": "bwrap", "users": "own", "limits": ["cgroup v2: memory, pids, cpu", "rlimits", "files"]}


def test_ready_says_which_upstream_proxies_rest(runner: FakeRunner) -> None:
    runner.egress = [CountryEgress("de", 2, 1, ["http://proxy.example:3128: it refuses connections"])]
    run_tick("a tick", lambda: None)

    reply = call("GET", "/readyz")

    assert reply.status == 200
    assert reply.body["checks"]["runner"]["egress"] == [
        {
            "country": "de",
            "upstreams": 2,
            "healthy": 1,
            "faults": ["http://proxy.example:3128: it refuses connections"],
        }
    ]


def not_ready() -> str:
    reply = call("GET", "/readyz")
    assert (reply.status, reply.code) == (503, "NOT_READY")
    return ", ".join(name for name, check in reply.body["checks"].items() if not check["ok"])


def test_not_ready_before_the_first_tick(runner: FakeRunner) -> None:
    assert not_ready() == "worker_and_beat"


def test_not_ready_when_ticks_stop(runner: FakeRunner, still: datetime) -> None:
    run_tick("a tick", lambda: None)
    BeatTick.objects.update(finished_at=still - timedelta(seconds=16))

    assert not_ready() == "worker_and_beat"


def test_not_ready_without_a_warm_browser(runner: FakeRunner) -> None:
    run_tick("a tick", lambda: None)
    runner.warm = 0

    assert not_ready() == "runner"


def test_not_ready_while_the_runner_drains(runner: FakeRunner) -> None:
    run_tick("a tick", lambda: None)
    runner.behaviour = "draining"

    assert not_ready() == "runner"


def test_not_ready_without_a_runner(settings: LazySettings) -> None:
    settings.RUNNER_URL = ""
    run_tick("a tick", lambda: None)

    assert not_ready() == "runner"


def test_not_being_ready_is_said_once(
    runner: FakeRunner, settings: LazySettings, caplog: pytest.LogCaptureFixture
) -> None:
    not_ready()

    assert [(record.name, record.levelname) for record in caplog.records] == [("browsa.access", "INFO")]
