"""Which limit a request counts against, and the bucket's arithmetic: in Python, and in Lua inside Redis."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator

import pytest
import redis
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from apps.core.ratelimit_buckets import SCRIPT, LocalBuckets
from apps.core.ratelimits import MICROSECONDS, TABLE, Limit, decide, overridden, route_class, take
from browsa.environment import rate_limits
from tests.patience import PATIENCE

AGENT = "agt_00112233445566778899"


@pytest.mark.parametrize(
    ("route_class_", "requests"),
    [
        (
            "create",
            "POST /v1/agents, POST /v1/tasks, POST /v1/auto, POST /v1/quick/scrape, POST /v1/quick/batch,"
            " POST /v1/browsers, POST /v1/sandboxes",
        ),
        (
            "read",
            f"GET /v1/agents, HEAD /v1/agents, GET /v1/agents/{AGENT}, GET /v1/agents/{AGENT}/cdp, GET /v1/jobs,"
            " GET /v1/jobs/1/events, GET /v1/browsers, GET /v1/sandboxes, GET /v1/sandboxes/terminal",
        ),
        (
            "end",
            f"DELETE /v1/agents/{AGENT}, DELETE /v1/keys/1, DELETE /v1/browsers, DELETE /v1/sandboxes,"
            " POST /v1/jobs/1/cancel",
        ),
        ("credits", "GET /v1/credits, GET /v1/credits/ledger, GET /v1/usage, GET /v1/billing"),
        ("checkout", "POST /v1/credits/checkout, POST /v1/billing/checkout"),
        (
            "other",
            f"POST /v1/agents/{AGENT}/sessions, GET /v1/keys, POST /v1/keys, GET /v1/webhooks, PUT /v1/agents,"
            " POST /v1/sandboxes/exec, POST /v1/sandboxes/code, GET /v1/sandboxes/fs/read, POST /v1/sandboxes/fs/write,"
            " POST /v1/sandboxes/opencode/prompt, POST /v1/jobs/1/respond, GET /v1/agentsx, GET /v1/keys/a\nb",
        ),
    ],
)
def test_each_request_counts_against_its_row(route_class_: str, requests: str) -> None:
    for request in requests.split(", "):
        method, _, path = request.partition(" ")
        assert route_class(method, path) == route_class_, request


def test_the_table_is_the_contracts() -> None:
    assert {name: (limit.per_minute, limit.burst) for name, limit in TABLE.items() if limit} == {
        "create": (60, 20),
        "read": (600, 100),
        "end": (120, 30),
        "credits": (30, 10),
        "checkout": (5, 2),
        "other": (300, 50),
    }


@pytest.mark.parametrize("limit", TABLE.values())
def test_a_full_bucket_allows_its_burst_and_then_its_rate(limit: Limit) -> None:
    now, full_at = 10**15, 0
    allowed = 0
    for second in range(601):  # asked far too often for ten minutes, the first second's burst included
        for _ in range(limit.burst + 20):
            taken = take(full_at, now + second * MICROSECONDS, limit)
            full_at = now + second * MICROSECONDS + taken.backlog
            allowed += taken.allowed

    assert allowed == limit.burst + 10 * limit.per_minute


@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    limit=st.builds(Limit, per_minute=st.integers(1, 10_000), burst=st.integers(1, 1000)),
    backlog=st.integers(0, 10**12),
)
def test_who_waits_as_long_as_told_is_let_in(limit: Limit, backlog: int) -> None:
    now = 10**15
    decision = decide("x", limit, take(now + backlog, now, limit))
    if decision.allowed:
        return

    later = now + decision.wait * MICROSECONDS

    assert decision.remaining == 0
    assert take(now + min(backlog, limit.capacity), later, limit).allowed
    assert not take(now + min(backlog, limit.capacity), later - 2 * MICROSECONDS, limit).allowed or decision.wait == 1


def test_the_headers_are_structured_fields_of_the_draft() -> None:
    limit = Limit(60, burst=20)

    fresh = decide("create", limit, take(0, 10**15, limit))
    spent = decide("create", limit, take(10**15 + limit.capacity, 10**15, limit))

    assert fresh.headers == {"RateLimit-Policy": '"create";q=20;w=20', "RateLimit": '"create";r=19;t=1'}
    assert spent.headers == {"RateLimit-Policy": '"create";q=20;w=20', "RateLimit": '"create";r=0;t=1'}
    assert decide("checkout", Limit(5, 2), take(0, 10**15, Limit(5, 2))).headers == {
        "RateLimit-Policy": '"checkout";q=2;w=24',
        "RateLimit": '"checkout";r=1;t=12',
    }


def test_a_clock_that_went_back_delays_no_request_for_longer_than_a_bucket_takes() -> None:
    limit = Limit(60, burst=2)

    refused = decide("x", limit, take(10**16, 10**15, limit))

    assert (refused.allowed, refused.wait) == (False, 1)


@pytest.fixture(scope="module")
def server() -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=PATIENCE)  # asked again, it would count twice
    yield client
    client.close()


@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    limit=st.builds(Limit, per_minute=st.integers(1, 1_000_000), burst=st.integers(1, 1_000_000)),
    backlogs=st.lists(st.one_of(st.none(), st.integers(-(10**9), 10**13)), min_size=1, max_size=5),
)
def test_redis_and_python_agree(server: redis.Redis, limit: Limit, backlogs: list[int | None]) -> None:
    """Each step starts from a bucket that is full `backlog` from now, or from how the step before left it."""
    key = f"test:{uuid.uuid4()}"
    for backlog in backlogs:
        if backlog is not None:
            seconds, micros = server.time()
            server.set(key, seconds * MICROSECONDS + micros + backlog)
        before = int(server.get(key) or 0)

        allowed, left, now = server.eval(SCRIPT, 1, key, limit.interval, limit.capacity)

        taken = take(before, now, limit)
        assert (bool(allowed), left) == (taken.allowed, taken.backlog)
        if taken.allowed:
            assert int(server.get(key) or now + left) == now + left
            assert server.pttl(key) <= left / 1000 + 1, "an idle bucket leaves nothing behind"
    server.delete(key)


def test_local_buckets_forget_the_full_ones() -> None:
    ticking = itertools.count(1000)
    buckets = LocalBuckets(clock=lambda: next(ticking))
    limit = Limit(60, burst=1)

    assert all(buckets.take(str(number), limit).allowed for number in range(10_050))
    assert len(buckets._full_at) < 100


def test_an_operator_changes_rows_or_switches_them_off() -> None:
    table = rate_limits('{"create": {"per_minute": 600}, "checkout": {"per_minute": 1, "burst": 1}, "read": "off"}')

    assert table == {**TABLE, "create": Limit(600, 20), "checkout": Limit(1, 1), "read": None}
    assert rate_limits("") == TABLE
    assert rate_limits("off") is None


def test_a_workspaces_row_starts_from_what_the_operator_set() -> None:
    assert overridden({**TABLE, "read": Limit(9, 9)}, {"read": {"burst": 7}})["read"] == Limit(9, 7)
    assert overridden({**TABLE, "read": None}, {"read": {"burst": 7}})["read"] == Limit(600, 7)


@pytest.mark.parametrize(
    "text",
    [
        "on",
        "[]",
        '"off"',
        '{"nothing": "off"}',
        '{"read": 5}',
        '{"read": {"per_minute": 0}}',
        '{"read": {"burst": 1.5}}',
        '{"read": {"burst": true}}',
        '{"read": {"bursts": 5}}',
        '{"read": {"burst": 1000001}}',
    ],
)
def test_invalid_settings_are_named(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="BROWSA_RATE_LIMITS"):
        rate_limits(text)
