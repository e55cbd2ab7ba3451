"""The fingerprint of an agent: what may be chosen of it, what was measured, and what its trust score is made of."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import LazySettings

from apps.agents.models import Agent
from apps.jobs.models import Job
from tests.cast import Member
from tests.fakes.runner import MEASURED, FakeRunner

pytestmark = pytest.mark.django_db

CHOSEN = {
    "screen_resolution": "2560x1440",
    "webrtc_mode": "masked",
    "geolocation_mode": "allow",
    "geolocation_data": "40.71,-74.01",
    "media_devices_mode": "masked",
    "port_scan_protection": "masked",
}


def test_overrides_and_the_seed_reach_the_runner_and_are_kept(alice: Member, runner: FakeRunner) -> None:
    agent = alice.burner(**CHOSEN, fingerprint_seed="my seed")

    (asked,) = runner.requests
    row = Agent.objects.get(id=agent["id"])
    assert (asked.seed, asked.overrides) == ("my seed", CHOSEN)
    assert (row.fingerprint_seed, row.overrides) == ("my seed", CHOSEN)
    assert agent["warnings"] == []


def test_without_a_seed_the_runner_draws_one_which_is_kept(alice: Member, runner: FakeRunner) -> None:
    agent = alice.burner()

    (asked,) = runner.requests
    assert (asked.seed, asked.overrides) == ("", {})
    assert Agent.objects.get(id=agent["id"]).fingerprint_seed == runner.leases[agent["id"]].seed != ""


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ja3_profile", "firefox_120"),
        ("webrtc_mode", "real"),
        ("webrtc_mode", "disabled"),
        ("media_devices_mode", "real"),
        ("port_scan_protection", "real"),
        ("screen_resolution", "mobile-iphone"),
        ("screen_resolution", "99999x99999"),
        ("geolocation_data", "35.68,139.69"),
    ],
)
def test_what_cannot_be_given_is_a_warning_and_costs_points(
    alice: Member, runner: FakeRunner, field: str, value: str
) -> None:
    agent, plain = alice.burner(**{field: value}), alice.burner()

    (warning,) = agent["warnings"]
    assert warning.startswith(f"{field}: ")
    assert alice.get(f"/v1/agents/{agent['id']}/fingerprint").body["warnings"] == [warning]
    inputs = {one["name"]: one for one in alice.get(f"/v1/agents/{agent['id']}/trust").body["inputs"]}
    assert inputs["warnings"]["points"] == agent["trust_score"] - plain["trust_score"] < 0
    assert inputs["warnings"]["knob"] == {"field": field, "value": "absent", "points": -inputs["warnings"]["points"]}


def test_the_runners_own_warnings_are_added_once(alice: Member, runner: FakeRunner) -> None:
    own = "ja3_profile: is not applied; the TLS handshake is always this Chromium's own"
    runner.fingerprint = {**MEASURED, "warnings": [own, "locale: its language pack is not installed"]}

    agent = alice.burner(ja3_profile="x")

    assert agent["warnings"] == [own, "locale: its language pack is not installed"]


def test_the_fingerprint_is_the_measured_document_also_after_the_end(alice: Member, runner: FakeRunner) -> None:
    agent = alice.burner()
    path = f"/v1/agents/{agent['id']}/fingerprint"

    measured = alice.get(path)
    alice.delete(f"/v1/agents/{agent['id']}")

    assert (measured.status, measured.body) == (200, MEASURED)
    assert alice.get(path).body == measured.body


def test_an_agent_that_never_ran_has_no_fingerprint_but_a_score(alice: Member, runner: FakeRunner) -> None:
    runner.behaviour = "no_browser"
    alice.post("/v1/agents", {})
    (failed,) = alice.get("/v1/agents").body["agents"]

    reply = alice.get(f"/v1/agents/{failed['id']}/fingerprint")
    trust = alice.get(f"/v1/agents/{failed['id']}/trust").body

    assert (reply.status, reply.code) == (404, "NOT_FOUND")
    assert trust["trust_score"] == failed["trust_score"] == sum(one["points"] for one in trust["inputs"])


def test_a_queued_agent_is_409(alice: Member, runner: FakeRunner) -> None:
    agent = alice.burner()
    Agent.objects.filter(id=agent["id"]).update(status="queued")

    reply = alice.get(f"/v1/agents/{agent['id']}/fingerprint")

    assert (reply.status, reply.code) == (409, "AGENT_NOT_RUNNING")


def test_a_browser_that_was_not_measured_scores_less(alice: Member, runner: FakeRunner) -> None:
    measured = alice.burner()
    runner.fingerprint = {}
    agent = alice.burner()

    assert alice.get(f"/v1/agents/{agent['id']}/fingerprint").status == 404
    assert agent["trust_score"] < measured["trust_score"]


@pytest.mark.parametrize("os_type", ["OS_TYPE_MACOS", "OS_TYPE_WINDOWS", "OS_TYPE_LINUX"])
def test_the_score_follows_what_was_found_and_not_the_os(alice: Member, runner: FakeRunner, os_type: str) -> None:
    clean = alice.burner(os_type=os_type)["trust_score"]
    found = {"code": "platform", "realm": "worker", "expected": "MacIntel", "seen": "Linux x86_64", "listed": True}
    runner.fingerprint = {**MEASURED, "coherence": {"contradictions": [found]}}
    marked = alice.burner(os_type=os_type)

    trust = alice.get(f"/v1/agents/{marked['id']}/trust").body

    assert (clean, marked["trust_score"]) == (840, 825)
    assert trust["trust_score"] == marked["trust_score"] == sum(one["points"] for one in trust["inputs"])
    assert trust["band"] == "suspicious"
    (os,) = (one for one in trust["inputs"] if one["name"] == "os")
    assert (os["points"], os["knob"]) == (-15, {"field": "os_type", "value": "OS_TYPE_LINUX", "points": 15})


def test_a_country_with_an_upstream_proxy_scores_more(
    alice: Member, runner: FakeRunner, settings: LazySettings
) -> None:
    direct = alice.burner(country="de")["trust_score"]
    settings.EGRESS_COUNTRIES = {**settings.EGRESS_COUNTRIES, "de": "http://proxy.test:3128"}

    assert alice.burner(country="de")["trust_score"] == direct + 20


def test_the_breakdown_stays_as_it_was_at_provisioning(
    alice: Member, runner: FakeRunner, settings: LazySettings
) -> None:
    agent = alice.burner(country="de")
    before = alice.get(f"/v1/agents/{agent['id']}/trust").body
    settings.EGRESS_COUNTRIES = {**settings.EGRESS_COUNTRIES, "de": "http://proxy.test:3128"}

    assert alice.get(f"/v1/agents/{agent['id']}/trust").body == before
    assert alice.get(f"/v1/agents/{agent['id']}").body["trust_score"] == before["trust_score"]


def test_a_task_passes_its_overrides_to_its_browser(alice: Member) -> None:
    body: dict[str, Any] = {"task": "Say hello.", "llm_api_key": "sk-test-0123456789abcdef"}

    plain, chosen = alice.post("/v1/tasks", body).body, alice.post("/v1/tasks", {**body, **CHOSEN}).body

    assert "overrides" not in Job.objects.get(id=plain["id"]).params
    params = Job.objects.get(id=chosen["id"]).params
    assert params["overrides"] == CHOSEN
    assert not set(params) & set(CHOSEN)


@pytest.mark.parametrize(
    ("field", "value"),
    [("screen_resolution", 5), ("webrtc_mode", "on"), ("geolocation_data", "x"), ("ja3_profile", [])],
)
def test_a_task_with_an_override_of_the_wrong_form_is_400(alice: Member, field: str, value: Any) -> None:
    reply = alice.post("/v1/tasks", {"task": "Say hello.", "llm_api_key": "sk-test-0123456789abcdef", field: value})

    assert (reply.status, list(reply.body["fields"])) == (400, [field])
