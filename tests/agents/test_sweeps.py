"""The sweeps of agents: expiry, abandonment, crashes, and the runner's reports."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.agents.control_client import current_boots, runner_client
from apps.agents.models import Agent
from apps.agents.services import sweeps
from apps.billing import services as billing
from apps.core.errors import ApiError
from apps.core.models import BeatTick
from tests.cast import Member, Reply, call
from tests.conftest import RUNNER_TOKEN
from tests.fakes.runner import FakeRunner

pytestmark = pytest.mark.django_db


def now() -> datetime:
    return datetime.now(UTC)


def report(runner: FakeRunner, *ended: tuple[str, str, float], token: str = RUNNER_TOKEN) -> Reply:
    body = {
        "runner_id": runner.runner_id,
        "boot_id": runner.boot_id,
        "ended": [{"lease_id": lease, "reason": reason, "ended_at": at} for lease, reason, at in ended],
    }
    return post_report(body, token)


def post_report(body: Any, token: str = RUNNER_TOKEN) -> Reply:
    return call(
        "POST",
        "/internal/runner/report",
        content=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}"},
    )


def state(agent: dict[str, Any]) -> tuple[str, str]:
    row = Agent.objects.get(id=agent["id"])
    return row.status, row.end_reason


def started_ago(agent: dict[str, Any], ago: timedelta) -> None:
    Agent.objects.filter(id=agent["id"]).update(started_at=now() - ago)


def abandoned(alice: Member, ago: timedelta) -> Agent:
    """An agent whose provisioning died between its two transactions."""
    held = billing.hold(workspace_id=alice.workspace.id, amount=1, reference="agent:x", source=billing.Source())
    return Agent.objects.create(
        workspace=alice.workspace,
        mode="burner",
        country="us",
        os_type="OS_TYPE_MACOS",
        ttl_seconds=300,
        trust_score=920,
        period_credits=1,
        surcharge_credits=0,
        hold_reference=held.reference,
        cost_credits=1,
        created_at=now() - ago,
    )


def test_beat_ends_what_is_past_its_time_and_bills_until_then(alice: Member, runner: FakeRunner) -> None:
    agent = alice.burner(ttl="10m")
    later = now() + timedelta(minutes=11)

    assert sweeps.expire(boots=current_boots, now=now() + timedelta(minutes=9)) == 0
    Agent.objects.filter(id=agent["id"]).update(
        started_at=now() - timedelta(minutes=15), expires_at=now() - timedelta(minutes=5)
    )
    assert sweeps.expire(boots=current_boots, now=later) == 1
    assert sweeps.expire(boots=current_boots, now=later) == 0

    row = Agent.objects.get(id=agent["id"])
    assert (row.status, row.end_reason, row.destroyed_at) == ("destroyed", "expired", row.expires_at)
    assert alice.credits() == (99, 0)


def test_beat_leaves_the_runner_time_to_report(alice: Member, runner: FakeRunner) -> None:
    expires_at = Agent.objects.get(id=alice.burner()["id"]).expires_at
    assert expires_at

    assert sweeps.expire(boots=current_boots, now=expires_at + timedelta(seconds=4.9)) == 0
    assert sweeps.expire(boots=current_boots, now=expires_at + timedelta(seconds=5.1)) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # see test_provisioning
@pytest.mark.parametrize("fate", ["away", "not configured", "garbled", "reborn"])
def test_who_is_past_the_time_on_a_dead_runner_crashed(
    alice: Member, runner: FakeRunner, settings: Any, monkeypatch: pytest.MonkeyPatch, fate: str
) -> None:
    agent = alice.burner(country="de")
    if fate == "away":
        settings.RUNNER_URL = "unix:/nonexistent/runner.sock"
    elif fate == "not configured":
        settings.RUNNER_URL = ""
    elif fate == "garbled":
        monkeypatch.setattr(runner, "boot_id", None)
    else:
        runner.reboot()

    assert sweeps.expire(boots=current_boots, now=now() + timedelta(minutes=6)) == 1

    assert state(agent) == ("destroyed", "crashed")
    assert alice.credits() == (100, 0)


def test_of_several_runners_each_agent_is_compared_with_its_own(alice: Member, runner: FakeRunner) -> None:
    ours, restarted, gone = (alice.burner()["id"] for _ in range(3))
    Agent.objects.filter(id=restarted).update(runner_id="r2", boot_id="old")
    Agent.objects.filter(id=gone).update(runner_id="r3")
    boots = {**current_boots(), "r2": "new"}

    assert sweeps.expire(boots=lambda: boots, now=now() + timedelta(minutes=6)) == 3

    ended = dict(Agent.objects.values_list("id", "end_reason"))
    assert (ended[ours], ended[restarted], ended[gone]) == ("expired", "crashed", "crashed")


def test_the_runner_is_asked_once_a_tick_and_only_when_an_agent_is_due(alice: Member, runner: FakeRunner) -> None:
    asked = []

    def find() -> dict[str, str]:
        asked.append(1)
        return current_boots()

    for _ in range(3):
        alice.burner()

    assert sweeps.expire(boots=find) == 0
    assert asked == []
    assert sweeps.expire(boots=find, now=now() + timedelta(minutes=6)) == 3
    assert asked == [1]


def test_an_abandoned_agent_fails_after_a_minute_and_costs_nothing(alice: Member, runner: FakeRunner) -> None:
    fresh = abandoned(alice, timedelta())
    minute, later = (fresh.created_at + timedelta(seconds=seconds) for seconds in (60, 61))

    assert sweeps.settle_stuck(runner=runner_client(), now=minute) == 0
    assert sweeps.settle_stuck(runner=runner_client(), now=later) == 1
    assert sweeps.settle_stuck(runner=runner_client(), now=later) == 0

    old = Agent.objects.get(id=fresh.id)
    assert (old.status, old.error_code, old.cost_credits) == ("failed", "UPSTREAM_TIMEOUT", 0)
    assert alice.credits() == (100, 0)
    assert runner.released == [fresh.id]
    assert [kind for kind, _ in alice.events()] == ["agent.failed"]


def test_a_lease_without_a_running_agent_is_released(alice: Member, runner: FakeRunner) -> None:
    wanted, unwanted = alice.burner(), alice.burner()
    Agent.objects.filter(id=unwanted["id"]).update(status="destroyed")
    runner.leases["agt_" + "f" * 20] = runner.leases[wanted["id"]]

    sweeps.reconcile_runner(runner=runner_client())

    assert sorted(runner.released) == sorted([unwanted["id"], "agt_" + "f" * 20])
    assert state(wanted) == ("running", "")


def test_an_agent_whose_browser_is_gone_crashed(alice: Member, runner: FakeRunner) -> None:
    agent = alice.burner()
    runner.leases.clear()
    started_at = Agent.objects.get(id=agent["id"]).started_at
    assert started_at

    sweeps.reconcile_runner(runner=runner_client(), now=started_at + timedelta(seconds=10))
    assert state(agent) == ("running", ""), "the list of leases may be older than the agent"

    sweeps.reconcile_runner(runner=runner_client(), now=started_at + timedelta(seconds=11))
    assert state(agent) == ("destroyed", "crashed")
    assert alice.credits() == (100, 0)


def test_a_runner_that_was_reborn_unseen_is_noticed(alice: Member, runner: FakeRunner) -> None:
    agent = alice.burner()
    runner.reboot()

    sweeps.reconcile_runner(runner=runner_client())

    assert state(agent) == ("destroyed", "crashed")


@pytest.mark.parametrize("behaviour", ["running", "destroyed"])
def test_sweeps_can_run_twice(alice: Member, runner: FakeRunner, behaviour: str) -> None:
    agent = alice.burner()
    if behaviour == "destroyed":
        alice.delete(f"/v1/agents/{agent['id']}")
    before = (alice.credits(), alice.events(), state(agent))

    for _ in range(2):
        sweeps.expire(boots=current_boots)
        sweeps.settle_stuck(runner=runner_client())
        sweeps.reconcile_runner(runner=runner_client())

    assert (alice.credits(), alice.events(), state(agent)) == before


def test_reconciling_needs_a_runner(alice: Member, settings: Any) -> None:
    settings.RUNNER_URL = ""

    with pytest.raises(ApiError):
        sweeps.reconcile_runner(runner=runner_client())


@pytest.mark.parametrize(
    ("reason", "minutes", "cost"),
    [
        ("expired", 5, 2),
        ("closed", 15, 3),
        ("crashed", 5, 0),
        ("crashed", 15, 1),
        ("shutdown", 25, 2),
    ],
)
def test_what_the_runner_reports_is_settled_by_whose_fault_it_was(
    alice: Member, runner: FakeRunner, reason: str, minutes: int, cost: int
) -> None:
    agent = alice.burner(ttl="1h", country="de")
    started_ago(agent, timedelta(minutes=minutes))

    assert report(runner, (agent["id"], reason, time.time())).status == 204

    assert state(agent) == ("destroyed", reason)
    assert alice.credits() == (100 - cost, 0)
    assert alice.events()[-1][1]["reason"] == reason


def test_a_report_may_come_twice_and_of_unknown_leases(alice: Member, runner: FakeRunner) -> None:
    agent = alice.burner()

    for _ in range(2):
        assert report(runner, (agent["id"], "closed", time.time()), ("agt_?", "expired", 0)).status == 204

    assert alice.credits() == (99, 0)
    assert len(alice.events()) == 2


@pytest.mark.parametrize("ended_at", [0, 2**35])
def test_the_runners_clock_is_not_trusted(alice: Member, runner: FakeRunner, ended_at: float) -> None:
    agent = alice.burner()
    started_ago(agent, timedelta(minutes=2))

    report(runner, (agent["id"], "closed", ended_at))

    row = Agent.objects.get(id=agent["id"])
    assert row.started_at and row.destroyed_at
    assert row.started_at <= row.destroyed_at <= now()


def test_a_new_boot_ends_what_ran_before_it_and_nothing_else(alice: Member, runner: FakeRunner) -> None:
    before = alice.burner()
    queued = abandoned(alice, timedelta(seconds=1))
    runner.reboot()
    after = alice.burner()

    report(runner)

    assert state(before) == ("destroyed", "crashed")
    assert state(after) == ("running", "")
    assert Agent.objects.get(id=queued.id).status == "queued"


@pytest.mark.parametrize("noticed_by", ["report", "reconciliation", "expiry"])
@pytest.mark.parametrize(("seen", "cost"), [(None, 0), (21, 0), (12, 1), (1, 2)])
def test_what_died_with_its_runner_is_charged_until_the_runner_was_last_seen(
    alice: Member, runner: FakeRunner, noticed_by: str, seen: int | None, cost: int
) -> None:
    agent = alice.burner(ttl="1h", country="de")
    started_ago(agent, timedelta(minutes=24))
    if seen is not None:
        BeatTick.objects.create(
            name="agents.reconcile_runner",
            started_at=now() - timedelta(seconds=1),
            finished_at=now() - timedelta(minutes=seen),
            error="UpstreamUnavailable",
        )
    runner.reboot()

    if noticed_by == "report":
        report(runner)
    elif noticed_by == "reconciliation":
        sweeps.reconcile_runner(runner=runner_client())
    else:
        assert sweeps.expire(boots=current_boots, now=now() + timedelta(hours=2)) == 1

    assert state(agent) == ("destroyed", "crashed")
    assert alice.credits() == (100 - cost, 0)


def test_a_late_report_of_an_earlier_boot_ends_nothing_of_a_later_one(alice: Member, runner: FakeRunner) -> None:
    before = alice.burner()
    ended = {"lease_id": before["id"], "reason": "shutdown", "ended_at": time.time()}
    late = {"runner_id": runner.runner_id, "boot_id": runner.boot_id, "ended": [ended]}
    runner.reboot()
    after = alice.burner()

    assert post_report(late).status == 204

    assert state(before) == ("destroyed", "shutdown")
    assert state(after) == ("running", "")


def test_a_boot_that_begins_while_the_runner_is_asked_loses_nothing(
    alice: Member, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = now()
    before, old = alice.burner(), runner.status()
    runner.reboot()
    after = alice.burner()
    monkeypatch.setattr(runner, "status", lambda: old)

    sweeps.reconcile_runner(runner=runner_client(), now=asked)
    assert (state(before), state(after)) == (("running", ""), ("running", ""))

    monkeypatch.undo()
    sweeps.reconcile_runner(runner=runner_client())
    assert (state(before), state(after)) == (("destroyed", "crashed"), ("running", ""))


def test_a_runner_whose_clock_went_back_is_noticed_by_its_leases(alice: Member, runner: FakeRunner) -> None:
    before = alice.burner()
    runner.reboot()
    runner.boot_id = "0" + runner.boot_id[1:]

    sweeps.reconcile_runner(runner=runner_client(), now=now() + timedelta(seconds=11))

    assert state(before) == ("destroyed", "crashed")


@pytest.mark.parametrize("token", ["", "wrong", RUNNER_TOKEN + "x", "ü"])
def test_only_a_runner_may_report(alice: Member, runner: FakeRunner, token: str) -> None:
    agent = alice.burner()

    reply = report(runner, (agent["id"], "closed", 0), token=token)

    assert (reply.status, reply.code) == (401, "UNAUTHORIZED")
    assert state(agent) == ("running", "")


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"runner_id": 1, "boot_id": "b"},
        {"runner_id": "r1", "boot_id": "b", "ended": {}},
        {"runner_id": "r1", "boot_id": "b", "ended": [{"lease_id": "x", "reason": "bored", "ended_at": 0}]},
        {"runner_id": "r1", "boot_id": "b", "ended": [{"lease_id": "x", "reason": "closed", "ended_at": "0"}]},
        {"runner_id": "r1", "boot_id": "b", "ended": [{"lease_id": "x", "reason": "closed", "ended_at": 1e300}]},
        {"runner_id": "r1", "boot_id": "b", "ended": [{"lease_id": ["x"], "reason": "closed", "ended_at": 0}]},
        {"runner_id": "r1", "boot_id": "b", "ended": [{"lease_id": "x\x00", "reason": "closed", "ended_at": 0}]},
        {"runner_id": "r1", "boot_id": "b", "ended": [{"lease_id": "x", "reason": [], "ended_at": 0}]},
    ],
)
def test_a_report_that_makes_no_sense_is_refused(db: None, body: Any) -> None:
    assert post_report(body).status == 400
