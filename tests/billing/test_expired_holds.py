"""Holds past their expiry: kept while their work runs, else released without a charge."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.agents.models import Agent
from apps.billing import services
from apps.billing.models import Hold
from apps.billing.services import expired_holds
from apps.billing.services.expired_holds import SweepResult, release_expired
from apps.billing.verification import problems
from apps.jobs.models import Job
from apps.jobs.services import creation
from tasks.billing import release_expired_holds
from tests.cast import Member, at_once, join
from tests.fakes.runner import FakeRunner

pytestmark = pytest.mark.django_db

A_DAY = timedelta(days=1)


def hold(member: Member, reference: str, *, late: timedelta = timedelta(seconds=1)) -> Hold:
    expires_at = timezone.now() - late
    return services.hold(
        workspace_id=member.workspace.id,
        amount=7,
        reference=reference,
        source=services.Source(),
        expires_at=expires_at,
    )


def test_a_hold_without_an_owner_is_released_after_its_expiry(alice: Member, caplog: pytest.LogCaptureFixture) -> None:
    hold(alice, "ownerless:1", late=timedelta(hours=-1))
    assert release_expired() == SweepResult()

    with caplog.at_level(logging.ERROR):
        assert release_expired(now=timezone.now() + timedelta(hours=2)) == SweepResult(released=1)

    assert alice.credits() == (100, 0)
    assert "released without a charge" in caplog.text
    assert release_expired(now=timezone.now() + timedelta(hours=2)) == SweepResult()
    assert list(problems()) == []


def test_every_hold_expires(alice: Member, runner: FakeRunner) -> None:
    services.hold(workspace_id=alice.workspace.id, amount=1, reference="r", source=services.Source())
    alice.burner(ttl="1h")
    job = creation.create_job(
        workspace_id=alice.workspace.id, kind="batch", params={}, hold=5, progress_total=5, page_credits=1
    )

    bare, agents, jobs = Hold.objects.order_by("created_at")
    assert timedelta(hours=23) < bare.expires_at - bare.created_at
    assert timedelta(hours=1, minutes=30) < agents.expires_at - agents.created_at < timedelta(hours=2)
    assert jobs.reference == f"job:{job.id}"
    assert timedelta(hours=1) < jobs.expires_at - jobs.created_at


def test_a_live_agents_hold_is_kept(alice: Member, runner: FakeRunner) -> None:
    alice.burner()

    assert release_expired(now=timezone.now() + A_DAY) == SweepResult(extended=1)

    assert alice.credits() == (100, 1)
    assert Hold.objects.get().expires_at > timezone.now() + A_DAY
    assert release_expired(now=timezone.now() + A_DAY) == SweepResult(), "it was given more time"


@pytest.mark.parametrize("status", ["queued", "running"])
def test_a_live_jobs_hold_is_kept(alice: Member, status: str) -> None:
    sync = status == "running"
    creation.create_job(workspace_id=alice.workspace.id, kind="scrape", params={}, hold=5, progress_total=1, sync=sync)
    assert Job.objects.get().status == status

    assert release_expired(now=timezone.now() + A_DAY) == SweepResult(extended=1)
    assert alice.credits() == (100, 5)


def test_a_hold_that_was_forgotten_at_the_end_is_released_and_said(
    alice: Member, runner: FakeRunner, caplog: pytest.LogCaptureFixture
) -> None:
    agent = alice.burner()
    Agent.objects.filter(id=agent["id"]).update(status="destroyed")

    assert release_expired(now=timezone.now() + A_DAY) == SweepResult(released=1)

    assert alice.credits() == (100, 0)
    (said,) = (record for record in caplog.records if record.levelname == "ERROR")
    assert (said.__dict__["work_state"], said.__dict__["reference"]) == ("ended", f"agent:{agent['id']}")


@pytest.mark.parametrize("reference", ["agent:agt_gone", "job:nonsense", "job:7a4185d4-0000-4000-8000-000000000000"])
def test_a_hold_whose_work_never_was_is_released(alice: Member, reference: str) -> None:
    hold(alice, reference)

    assert release_expired() == SweepResult(released=1)


def test_the_tick_does_it(alice: Member) -> None:
    hold(alice, "ownerless:1")
    release_expired_holds()
    assert alice.credits() == (100, 0)


@pytest.mark.django_db(transaction=True)
def test_concurrent_sweeps_and_settlements_settle_each_hold_once() -> None:
    alice = join("alice")
    for number in range(12):
        hold(alice, f"ownerless:{number}")

    def act(thread: int) -> int:
        if thread < 3:
            return release_expired().released
        taken = 0
        for number in range(12):
            reference = f"ownerless:{number}"
            held = services.settle(workspace_id=alice.workspace.id, reference=reference, used=3)
            taken += held.captured or 0
        return taken

    released = at_once(4, act)

    captured = sum(Hold.objects.values_list("captured", flat=True))
    assert released[3] == captured
    assert sum(released[:3]) + captured // 3 == 12, "each hold was ended by one of them, once"
    assert alice.credits() == (100 - captured, 0)
    assert list(problems()) == []


@pytest.mark.django_db(transaction=True)
def test_an_agent_that_ends_while_the_sweep_looks_is_billed(
    runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep found the hold late; before it had the lock, the agent was destroyed and settled."""
    alice = join("alice")
    agent = alice.burner()
    late = [(alice.workspace.id, f"agent:{agent['id']}")]
    alice.delete(f"/v1/agents/{agent['id']}")
    monkeypatch.setattr(expired_holds.selectors, "expired_holds", lambda **_: late)

    assert release_expired(now=timezone.now() + A_DAY) == SweepResult()
    assert alice.credits() == (99, 0)
