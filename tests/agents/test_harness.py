"""The detection harness: its checks, what it stores, when it is due, and the signal that agents get of it."""

from __future__ import annotations

import itertools
import json
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from apps.agents import selectors
from apps.agents.control_client import RunnerClient
from apps.agents.harness_checks import CHROME_HTTP2, REALMS, SITES, Check, external_check, judge
from apps.agents.models import HarnessPage, HarnessVerdict
from apps.agents.services import harness, sweeps
from fingerprints import coherence
from runner.wire import HARNESS_LEASE_PREFIX
from tests.cast import Member
from tests.fakes.runner import FakeRunner
from tests.fingerprints.documents import DOCUMENT, HEADERS, REALM
from tests.fingerprints.test_coherence import EXAMPLES

MAC_US = ("OS_TYPE_MACOS", "us")
FIELDS = [[name, value] for name, value in HEADERS.items()]
TLS = {"ja3": "", "ja4": "t13d1517h2_8daaf6152771_cb7bf5808d99", "alpn": ["h2", "http/1.1"], "versions": ["0x0304"]}
DRAWN = {name: DOCUMENT[name] for name in ("webgl", "canvas", "audio", "fonts")}


def server(**requests: Any) -> dict[str, Any]:
    return {"requests": {f"/{path}": fields for path, fields in requests.items()}, "tls": None}


def good_readings() -> dict[str, Any]:
    """What the reference pages read in a browser without any finding."""
    readings = {
        "automation": {
            "atStart": {"outerWidth": 1512, "outerHeight": 949, "innerWidth": 1512, "innerHeight": 862},
            "driverNames": [],
            "changedProperties": [],
            "serialized": False,
            "navigator": DOCUMENT["navigator"],
            "server": server(automation=FIELDS),
        },
        "coherence": {
            "realms": {realm: dict(REALM) for realm in REALMS},
            "server": {"requests": {"/service.js": FIELDS, "/shared.js": FIELDS}, "tls": None},
        },
        "place": {"screen": DOCUMENT["screen"], "server": server()},
        "drawing": {"machine": DRAWN, "again": DRAWN, "server": server()},
        "drawing_again": {"machine": DRAWN, "again": DRAWN, "server": server()},
        "network": {"server": {"requests": {}, "tls": TLS, "http2": {"akamai": CHROME_HTTP2}}},
    }
    copied: dict[str, Any] = json.loads(json.dumps(readings))  # no part is shared
    return copied


def outcomes(readings: dict[str, Any]) -> dict[str, str]:
    """The checks that did not pass."""
    checks = judge(readings, measured_at="2026-11-28T14:00:00Z")
    return {check.name: check.outcome for check in checks if check.outcome != "passed"}


def test_a_browser_without_a_finding_passes_every_check() -> None:
    assert outcomes(good_readings()) == {}


@pytest.mark.parametrize(
    ("path", "value", "check"),
    [
        (("automation", "driverNames"), ["cdc_abc"], "driver_names"),
        (("automation", "changedProperties"), ["navigator.webdriver"], "changed_properties"),
        (("automation", "serialized"), True, "serialized_log"),
        (("automation", "atStart", "outerWidth"), 0, "window_at_start"),
        (("automation", "navigator", "webdriver"), True, "webdriver"),
        (("coherence", "realms", "popup", "timezone"), "UTC", "timezone"),
        (("coherence", "server", "requests", "/service.js"), [["User-Agent", "Other"]], "worker_headers"),
        (("place", "screen", "media", "hover"), "none", "hover"),
        (("drawing", "again", "canvas"), {"hash": "other"}, "canvas_stable"),
        (("drawing_again", "machine", "audio"), {"hash": "other"}, "audio_stable"),
        (("network", "server", "tls", "ja4"), "t13d1517h2_aaaaaaaaaaaa_bbbbbbbbbbbb", "tls_ciphers"),
        (("network", "server", "tls", "versions"), ["0x0303"], "tls_version"),
        (("network", "server", "tls", "alpn"), ["http/1.1"], "tls_alpn"),
        (("network", "server", "http2"), None, "http2"),
    ],
)
def test_what_a_page_finds_fails_its_check(path: tuple[str, ...], value: Any, check: str) -> None:
    readings = part = good_readings()
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value

    assert outcomes(readings)[check] == "failed"


def test_a_realm_that_did_not_answer_fails() -> None:
    readings = good_readings()
    del readings["coherence"]["realms"]["service_worker"]

    assert outcomes(readings) == {"realms_answered": "failed"}


def test_a_listed_exception_alone_fails_nothing() -> None:
    readings = good_readings()
    readings["coherence"]["realms"]["worker"]["platform"] = "Linux x86_64"
    assert outcomes(readings) == {"platform": "listed"}

    readings["coherence"]["realms"]["frame"]["platform"] = "Linux x86_64"
    assert outcomes(readings) == {"platform": "failed"}


def test_every_contradiction_belongs_to_one_site() -> None:
    names = list(itertools.chain(*SITES.values()))

    assert len(names) == len(set(names))
    assert {code for _change, (code, _realm) in EXAMPLES} <= set(names)
    assert {coherence.CODES.get(name, name) for name in coherence.SHARED} <= set(names)


@pytest.mark.parametrize(
    ("value", "outcome"), [(True, "passed"), (False, "failed"), (0.8, "passed"), (0.7, "failed"), ("yes", "failed")]
)
def test_the_verdict_of_an_external_page(value: Any, outcome: str) -> None:
    assert external_check("checker", value, threshold=0.75).outcome == outcome


def stored(
    shape: tuple[str, str] = MAC_US, *, at: datetime | None = None, failed: tuple[str, ...] = (), version: str = "156"
) -> None:
    """A run whose verdicts all passed but those of `failed`."""
    checks = [Check(site, name, "failed" if name in failed else "passed") for site in SITES for name in SITES[site]]
    harness._store(checks, os_type=shape[0], country=shape[1], chromium=version, began=at or timezone.now())


def signal(member: Member, agent: dict[str, Any]) -> Any:
    return member.get(f"/v1/agents/{agent['id']}/detection-signal").body["signal"]


@pytest.mark.django_db
def test_the_signal_is_null_without_a_run_on_the_shape(alice: Member, runner: FakeRunner) -> None:
    stored(("OS_TYPE_WINDOWS", "us"))

    assert signal(alice, alice.burner()) is None


@pytest.mark.django_db
def test_the_signal_is_that_of_the_newest_run_on_the_shape(alice: Member, runner: FakeRunner) -> None:
    stored(at=timezone.now() - timedelta(days=2), failed=("webdriver", "timezone"))
    stored(failed=("hover", "pointer"))

    found = signal(alice, alice.burner())

    assert (found["pass_rate"], found["sites_tested"], found["sites_passed"]) == (0.8, 5, 4)
    (place,) = [site for site in found["sites"] if not site["passed"]]
    assert place == {
        "name": "place",
        "passed": False,
        "checks": len(SITES["place"]),
        "failed": ["pointer", "hover"],
        "listed": [],
    }


@pytest.mark.django_db
def test_a_run_older_than_seven_days_is_no_signal(alice: Member, runner: FakeRunner) -> None:
    stored(at=timezone.now() - timedelta(days=7, minutes=1))
    agent = alice.burner()
    assert signal(alice, agent) is None

    stored(at=timezone.now() - timedelta(days=6, hours=23))
    assert signal(alice, agent)["pass_rate"] == 1


@pytest.mark.django_db
def test_another_workspace_cannot_read_the_signal(alice: Member, bob: Member, runner: FakeRunner) -> None:
    agent = alice.burner()

    assert bob.get(f"/v1/agents/{agent['id']}/detection-signal").status == 404


@pytest.mark.django_db
def test_the_pass_rate_moves_the_trust_score_of_the_next_agent(alice: Member, runner: FakeRunner) -> None:
    def points() -> int:
        inputs = alice.get(f"/v1/agents/{alice.burner()['id']}/trust").body["inputs"]
        return next(one["points"] for one in inputs if one["name"] == "harness")

    untested = points()
    stored()
    passed = points()
    stored(failed=("webdriver", "user_agent", "hover"))

    assert points() < untested < passed


@pytest.mark.django_db
def test_a_shape_is_due_once_a_day(alice: Member, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    alice.burner(os_type="OS_TYPE_WINDOWS")
    ran: list[tuple[str, str]] = []
    monkeypatch.setattr(
        harness, "run", lambda *, os_type, country, runner: (ran.append((os_type, country)), stored((os_type, country)))
    )
    client = RunnerClient(runner.url, token="")
    now = timezone.now()

    assert harness.run_due(runner=client, now=now) == 2
    assert ran == [("OS_TYPE_MACOS", "us"), ("OS_TYPE_WINDOWS", "us")]
    assert harness.run_due(runner=client, now=now + timedelta(hours=22)) == 0
    assert harness.run_due(runner=client, now=now + timedelta(hours=24)) == 2
    client.close()


@pytest.mark.django_db
def test_a_run_that_fails_stores_nothing_and_releases_its_lease(runner: FakeRunner) -> None:
    """The fake's browser speaks no CDP."""
    client = RunnerClient(runner.url, token="")

    assert harness.run_due(runner=client) == 0

    (asked,) = runner.requests
    assert asked.harness and asked.lease_id.startswith(HARNESS_LEASE_PREFIX)
    assert runner.released == [asked.lease_id]
    assert not HarnessVerdict.objects.exists()
    client.close()


@pytest.mark.django_db
def test_the_reconciliation_leaves_leases_of_the_harness_alone(alice: Member, runner: FakeRunner) -> None:
    alice.burner()
    (granted,) = runner.leases.values()
    runner.leases[f"{HARNESS_LEASE_PREFIX}ab"] = granted
    client = RunnerClient(runner.url, token="")

    sweeps.reconcile_runner(runner=client)

    assert runner.released == []
    client.close()


@pytest.mark.django_db
def test_external_pages_are_those_that_are_active() -> None:
    HarnessPage.objects.create(name="on", url="https://checker.example", expression="true")
    HarnessPage.objects.create(name="off", url="https://checker.example", expression="true", active=False)

    assert [page.name for page in selectors.harness_pages()] == ["on"]


@pytest.mark.django_db
def test_the_report_shows_every_run_and_what_failed(tmp_path: Path) -> None:
    stored(at=timezone.now() - timedelta(days=1), version="155.0.1.1")
    stored(failed=("hover",), version="156.0.1.1")

    call_command("harness_report", str(tmp_path / "report.html"), stdout=StringIO())

    report = (tmp_path / "report.html").read_text()
    assert report.index("156.0.1.1") < report.index("155.0.1.1")
    assert "4 of 5" in report and "5 of 5" in report and "place: hover" in report


@pytest.mark.django_db
def test_the_report_without_a_run(tmp_path: Path) -> None:
    call_command("harness_report", str(tmp_path / "report.html"), stdout=StringIO())

    assert "There was no run" in (tmp_path / "report.html").read_text()


def test_the_checks_of_a_run_have_one_row_each() -> None:
    checks = judge(good_readings(), measured_at="2026-11-28T14:00:00Z")

    assert [(check.site, check.name) for check in checks] == [(site, name) for site in SITES for name in SITES[site]]
