"""Rate limits as clients, operators and a dead Redis meet them."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from django.conf import LazySettings

from apps.accounts.models import Workspace
from apps.core import ratelimit_buckets
from apps.core.ratelimit_buckets import SharedBuckets, Unavailable
from apps.core.ratelimits import TABLE, Limit
from stack import redis as redis_server
from stack.child import launched
from stack.home import locate, opened
from tests.cast import Member, at_once, call, join
from tests.fakes.runner import FakeRunner
from tests.patience import until

pytestmark = pytest.mark.django_db

TIMEOUT_SECONDS = ratelimit_buckets._TIMEOUT_SECONDS


@pytest.fixture(autouse=True)
def limits(settings: LazySettings, patient_buckets: None) -> None:
    settings.RATE_LIMITS = TABLE


# One a minute: a test that is held up for seconds must not find more than the burst.
SLOW = {**TABLE, "create": Limit(1, burst=20), "credits": Limit(1, burst=10)}


def test_every_authenticated_answer_says_what_is_left(
    alice: Member, bob: Member, runner: FakeRunner, settings: LazySettings
) -> None:
    first = alice.post("/v1/agents", {})

    assert first.headers["RateLimit-Policy"] == '"create";q=20;w=20'
    assert first.headers["RateLimit"] == '"create";r=19;t=1'
    assert alice.get("/v1/agents").headers["RateLimit"] == '"read";r=99;t=1'
    assert alice.get("/v1/agents/nonsense").headers["RateLimit-Policy"] == '"read";q=100;w=10'
    assert call("PUT", "/v1/agents", key=alice.secret).headers["RateLimit"] == '"other";r=49;t=1'

    settings.RATE_LIMITS = SLOW
    _, second = bob.post("/v1/agents", {}), bob.post("/v1/agents", {"ttl": 1})
    assert second.status == 400
    assert second.headers["RateLimit"].startswith('"create";r=18;')


def test_the_burst_passes_and_then_429_says_when(alice: Member, settings: LazySettings) -> None:
    settings.RATE_LIMITS = SLOW
    statuses = [alice.get("/v1/credits").status for _ in range(10)]
    refused = alice.get("/v1/credits")

    assert statuses == [200] * 10
    assert (refused.status, refused.code) == (429, "TOO_MANY_REQUESTS")
    assert 30 < int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["RateLimit"] == f'"credits";r=0;t={refused.headers["Retry-After"]}'
    assert refused.body["request_id"] == refused.headers["X-Request-Id"]
    assert alice.get("/v1/agents").status == 200, "each class has a bucket of its own"


def test_a_workspaces_keys_share_its_buckets_and_others_have_their_own(
    alice: Member, bob: Member, settings: LazySettings
) -> None:
    settings.RATE_LIMITS = SLOW
    second = alice.post("/v1/keys", {"name": "second"}).body["secret"]
    for key in (alice.secret, second) * 5:
        assert call("GET", "/v1/credits", key=key).status == 200

    assert call("GET", "/v1/credits", key=second).status == 429
    assert bob.get("/v1/credits").status == 200


@pytest.mark.django_db(transaction=True)
def test_many_at_once_get_no_more_than_the_burst(settings: LazySettings) -> None:
    settings.RATE_LIMITS = {**TABLE, "read": Limit(1, burst=7)}
    alice = join("alice")

    statuses = at_once(30, lambda _: alice.get("/v1/agents").status)

    assert sorted(statuses) == [200] * 7 + [429] * 23


def test_public_paths_and_wrong_keys_count_for_no_workspace(alice: Member) -> None:
    for path in ("/healthz", "/readyz", "/docs", "/openapi.json", "/nope", "/v1/nope"):
        assert "RateLimit" not in call("GET", path, key=alice.secret).headers
    for reply in (call("GET", "/v1/agents"), call("GET", "/v1/agents", key="agt_live_" + "0" * 32)):
        assert reply.status == 401
        assert "RateLimit" not in reply.headers


def test_off_is_off(alice: Member, settings: LazySettings) -> None:
    settings.RATE_LIMITS = {**TABLE, "credits": None}
    assert [alice.get("/v1/credits").status for _ in range(12)] == [200] * 12

    settings.RATE_LIMITS = None
    assert "RateLimit" not in alice.get("/v1/agents").headers


def test_a_workspace_has_limits_of_its_own(alice: Member, bob: Member, caplog: pytest.LogCaptureFixture) -> None:
    Workspace.objects.filter(id=alice.workspace.id).update(rate_limits={"credits": {"per_minute": 600, "burst": 200}})
    assert alice.get("/v1/credits").headers["RateLimit-Policy"] == '"credits";q=200;w=20'
    assert bob.get("/v1/credits").headers["RateLimit-Policy"] == '"credits";q=10;w=20'

    Workspace.objects.filter(id=alice.workspace.id).update(rate_limits={"credits": "none of your business"})
    assert alice.get("/v1/credits").headers["RateLimit-Policy"] == '"credits";q=10;w=20'
    assert "rate limits are not valid" in caplog.text


def test_the_admin_page_refuses_invalid_values(alice: Member) -> None:
    from django.core.exceptions import ValidationError

    alice.workspace.rate_limits = {"credits": {"per_minute": 0}}

    with pytest.raises(ValidationError, match=r"credits\.per_minute"):
        alice.workspace.full_clean()


class OwnRedis:
    """A Redis that a test may stop, freeze and start again."""

    def __init__(self, path: Path) -> None:
        self._home = locate(path)
        self._server = redis_server.Redis(self._home)
        self.url = self._server.url

    def __enter__(self) -> OwnRedis:
        self._opened = opened(self._home)
        self._opened.__enter__()
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        self._opened.__exit__(None, None, None)

    def start(self) -> None:
        self._process = subprocess.Popen(
            launched(self._server.command()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(self._server.ready)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def freeze(self, frozen: bool) -> None:
        self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory, settings: LazySettings) -> Iterator[OwnRedis]:
    with OwnRedis(tmp_path_factory.mktemp("redis")) as server:
        settings.REDIS_URL = server.url
        yield server
    ratelimit_buckets._shared(server.url).close()


def test_without_redis_reads_pass_and_creations_are_refused(
    alice: Member, runner: FakeRunner, own_redis: OwnRedis, settings: LazySettings
) -> None:
    settings.RATE_LIMITS = SLOW
    assert alice.post("/v1/agents", {}).status == 201
    own_redis.stop()

    read, refused = alice.get("/v1/agents"), alice.post("/v1/agents", {})

    assert (read.status, read.headers["RateLimit"]) == (200, '"read";r=99;t=1')
    assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "NOT_READY", "2")
    assert len(runner.requests) == 1
    assert [alice.get("/v1/credits").status for _ in range(11)] == [200] * 10 + [429], "counted here meanwhile"
    assert alice.delete(f"/v1/agents/{alice.get('/v1/agents').body['agents'][0]['id']}").status == 204


class Clock:
    """Stands still until it is told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_redis_that_came_back_counts_again_at_the_next_probe(own_redis: OwnRedis) -> None:
    clock = Clock()
    buckets = SharedBuckets(own_redis.url, clock=clock)
    limit = Limit(60, burst=5)
    own_redis.stop()
    with pytest.raises(Unavailable):
        buckets.take("key", limit)
    own_redis.start()

    with pytest.raises(Unavailable):
        buckets.take("key", limit)
    clock.now += ratelimit_buckets.PROBE_SECONDS

    assert buckets.take("key", limit).allowed
    assert buckets.take("key", limit).allowed
    buckets.close()


def test_a_restart_between_two_requests_is_not_noticed(own_redis: OwnRedis) -> None:
    buckets = SharedBuckets(own_redis.url)
    limit = Limit(1, burst=1)
    assert buckets.take("key", limit).allowed
    assert not buckets.take("key", limit).allowed
    own_redis.stop()
    own_redis.start()

    assert buckets.take("key", limit).allowed, "Redis may be emptied at any moment"
    buckets.close()


def test_a_redis_that_hangs_costs_one_request_a_moment_and_the_others_nothing(
    own_redis: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ratelimit_buckets, "_TIMEOUT_SECONDS", TIMEOUT_SECONDS)
    clock = Clock()
    buckets = SharedBuckets(own_redis.url, clock=clock)
    limit = Limit(6000, burst=1000)

    def seconds_of_a_probe() -> float | None:
        """None when there was an answer."""
        clock.now += ratelimit_buckets.PROBE_SECONDS
        started = time.perf_counter()
        try:
            buckets.take("key", limit)
        except Unavailable:
            return time.perf_counter() - started
        return None

    until(lambda: seconds_of_a_probe() is None)
    own_redis.freeze(True)
    with pytest.raises(Unavailable) as first:
        buckets.take("key", limit)
    # The machine may be held up during one, not during each.
    until(lambda: (seconds_of_a_probe() or 1) < 1)
    others = []
    for _ in range(200):
        with pytest.raises(Unavailable) as other:
            buckets.take("key", limit)
        others.append(other.value.__cause__)
    own_redis.freeze(False)

    assert isinstance(first.value.__cause__, redis.TimeoutError)
    assert set(others) == {None}, "they did not ask it"
    buckets.close()
