"""What Prometheus reads, and that one part that can't be read doesn't take the others with it."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta

import pytest
from django.conf import LazySettings
from prometheus_client.parser import text_string_to_metric_families

from apps.core import tracing
from apps.core.logs import JSONFormatter
from apps.core.models import BeatTick
from apps.core.ticks import run_tick
from runner.wire import CountryEgress
from tests.cast import Member, call
from tests.fakes.runner import FakeRunner
from tests.jobs.making import add_pages, claimed, make_job

pytestmark = pytest.mark.django_db

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape() -> Samples:
    reply = call("GET", "/metrics")
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(reply.content.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, tuple(sorted(labels.items()))), 0.0)


def test_requests_are_counted_by_the_pattern_of_their_path(alice: Member, runner: FakeRunner) -> None:
    labels = {"method": "GET", "route": "/v1/agents/<str:agent_id>"}
    before = scrape()

    alice.get("/v1/agents/agt_00000000000000000000")
    alice.get("/v1/agents/agt_00000000000000000001")
    call("GET", "/v1/agents/agt_00000000000000000001")
    call("GET", "/nowhere/at/all")

    after = scrape()
    counted = [
        value(after, "browsa_http_requests_total", status=status, **labels)
        - value(before, "browsa_http_requests_total", status=status, **labels)
        for status in ("404", "401")
    ]
    assert counted == [2, 1]
    timed = "browsa_http_request_duration_seconds_count"
    assert value(after, timed, **labels) - value(before, timed, **labels) == 3
    assert value(after, "browsa_http_requests_total", method="GET", route="unknown", status="404") > 0
    assert not any("agt_0" in dict(labels).get("route", "") for _, labels in after)


def test_the_pool_and_provisions_are_there(alice: Member, runner: FakeRunner) -> None:
    before = scrape()
    alice.burner()

    after = scrape()

    assert value(after, "browsa_pool_browsers", state="warm") == runner.warm
    assert value(after, "browsa_agents", state="running", mode="burner") == 1
    name = "browsa_provision_duration_seconds_count"
    assert value(after, name, outcome="running") - value(before, name, outcome="running") == 1


def test_upstream_proxies_are_counted_by_country_and_state(runner: FakeRunner) -> None:
    runner.egress = [CountryEgress("de", 3, 1, ["a", "b"]), CountryEgress("fr", 1, 1)]

    samples = scrape()

    counts = {
        (country, state): value(samples, "browsa_egress_upstreams", country=country, state=state)
        for country in ("de", "fr")
        for state in ("healthy", "resting")
    }
    assert counts == {("de", "healthy"): 1, ("de", "resting"): 2, ("fr", "healthy"): 1, ("fr", "resting"): 0}


def test_jobs_and_their_holds_are_counted_by_state_and_kind(alice: Member, runner: FakeRunner) -> None:
    scrape()  # counting begins
    make_job(alice, "scrape")
    add_pages(claimed(make_job(alice, "batch"), "worker-1"), 1)

    samples = scrape()

    assert value(samples, "browsa_jobs", state="queued", kind="scrape") == 1
    assert value(samples, "browsa_jobs", state="running", kind="batch") == 1
    assert value(samples, "browsa_queue_age_seconds", queue="default") > 0
    assert value(samples, "browsa_queue_age_seconds", queue="bulk") == 0
    assert value(samples, "browsa_ledger_holds") == 2
    assert value(samples, "browsa_ledger_held_credits") > 0


def test_a_late_tick_shows(runner: FakeRunner, still: datetime) -> None:
    run_tick("jobs.relay", lambda: None)
    assert value(scrape(), "browsa_beat_late_seconds", tick="jobs.relay") == 0

    BeatTick.objects.update(finished_at=still - timedelta(seconds=60))

    assert value(scrape(), "browsa_beat_late_seconds", tick="jobs.relay") == 56


def test_without_a_runner_the_rest_is_still_told(alice: Member, settings: LazySettings) -> None:
    settings.RUNNER_URL = ""
    before = value(scrape(), "browsa_scrape_failures_total", part="runner")

    samples = scrape()

    assert ("browsa_ledger_holds", ()) in samples
    assert ("browsa_pool_limit", ()) not in samples
    assert value(scrape(), "browsa_scrape_failures_total", part="runner") > before


def test_only_reading_is_allowed() -> None:
    assert call("POST", "/metrics").status == 405


def test_log_lines_name_the_workspace_and_the_request(
    alice: Member, runner: FakeRunner, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "browsa.access"):
        alice.get("/v1/agents")
        line = json.loads(JSONFormatter().format(caplog.records[-1]))  # the same context, for there was no other call

    assert line["workspace_id"] == str(alice.workspace.id)
    assert line["request_id"]


def test_a_line_carries_the_ids_of_the_work_at_hand_alone() -> None:
    record = logging.makeLogRecord({"msg": "done"})
    tracing.clear()

    tracing.bind(job_id="j1", workspace_id="w1")
    during = json.loads(JSONFormatter().format(record))
    tracing.clear()
    after = json.loads(JSONFormatter().format(record))

    assert (during["job_id"], during["workspace_id"]) == ("j1", "w1")
    assert "job_id" not in after
