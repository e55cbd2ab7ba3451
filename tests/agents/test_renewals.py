"""Persistent identities pay by the month: once each, on time, and with a warning before they end."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.agents.models import Agent
from apps.agents.services import renewals, termination
from apps.agents.services.renewals import RenewalOutcome, month_after, next_month
from apps.billing import services as billing
from apps.billing.models import LedgerEntry, Price
from apps.billing.verification import problems
from apps.core.times import rfc3339
from tasks.agents import renew as tick
from tests.cast import Member, at_once, join

pytestmark = pytest.mark.django_db

BEGAN = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)
FIRST = datetime(2026, 2, 28, 12, 30, tzinfo=UTC)
SECOND = datetime(2026, 3, 31, 12, 30, tzinfo=UTC)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


def identity(member: Member, **fields: Any) -> Agent:
    return Agent.objects.create(
        **{
            "workspace": member.workspace,
            "status": "running",
            "mode": "persistent",
            "country": "us",
            "os_type": "OS_TYPE_MACOS",
            "ttl_seconds": 0,
            "trust_score": 900,
            "period_credits": 0,
            "surcharge_credits": 0,
            "cost_credits": 30,
            "created_at": BEGAN,
            "started_at": BEGAN,
            "next_renewal_at": FIRST,
            **fields,
        }
    )


def renew(now: datetime) -> dict[str, int]:
    return {outcome.value: count for outcome, count in renewals.renew(now=now).items() if count}


def spend(member: Member, amount: int) -> None:
    billing.adjust(workspace_id=member.workspace.id, amount=-amount, reference=f"spent {amount}", description="")


def renewal_entries(member: Member) -> list[tuple[str, int]]:
    rows = LedgerEntry.objects.filter(workspace=member.workspace, kind="renewal").order_by("seq")
    return list(rows.values_list("reference", "amount"))


def test_a_month_is_billed_when_it_begins(alice: Member) -> None:
    agent = identity(alice)
    assert renew(FIRST - timedelta(seconds=1)) == {}

    assert renew(FIRST) == {"renewed": 1, "not due": 1}

    agent.refresh_from_db()
    assert (agent.next_renewal_at, agent.cost_credits) == (SECOND, 60)
    assert alice.credits() == (70, 0)
    assert renewal_entries(alice) == [(f"renewal:{agent.id}:2026-02-28", -30)]
    assert alice.events() == [
        (
            "agent.renewed",
            {"agent_id": agent.id, "renewal_credits": 30, "next_renewal_at": "2026-03-31T12:30:00Z"},
        )
    ]
    entry = alice.get("/v1/credits/ledger").body["entries"][0]
    assert (entry["agent_id"], entry["description"]) == (agent.id, "Persistent identity, month from 2026-02-28")
    assert list(problems()) == []


def test_a_month_is_billed_once_however_often_it_is_asked_for(alice: Member) -> None:
    identity(alice)
    for _ in range(3):
        renew(FIRST + timedelta(days=1))
    assert len(renewal_entries(alice)) == 1


@pytest.mark.django_db(transaction=True)
def test_two_beats_at_once_bill_a_month_once() -> None:
    alice = join("alice")
    billing.top_up(workspace_id=alice.workspace.id, amount=1000, reference="t", description="")
    for _ in range(5):
        identity(alice)

    at_once(8, lambda _: renewals.renew(now=FIRST))

    assert len(renewal_entries(alice)) == 5
    assert alice.credits() == (1100 - 150, 0)
    assert len(alice.events()) == 5
    assert list(problems()) == []


@pytest.mark.django_db(transaction=True)
def test_an_identity_that_is_destroyed_meanwhile_is_billed_or_not_but_never_after() -> None:
    alice = join("alice")
    agent = identity(alice)

    def act(number: int) -> None:
        if number % 2:
            renewals.renew(now=FIRST)
        else:
            termination.end(agent=Agent.objects.get(id=agent.id), reason="deleted", at=timezone.now())

    at_once(6, act)

    agent.refresh_from_db()
    assert agent.status == "destroyed"
    assert alice.credits() == (100 - 30 * len(renewal_entries(alice)), 0)
    assert agent.cost_credits in (30, 30 + 30 * len(renewal_entries(alice)))
    before = renewal_entries(alice)
    renewals.renew(now=SECOND)
    assert renewal_entries(alice) == before


def test_months_that_beat_slept_through_are_billed_too(alice: Member) -> None:
    agent = identity(alice)

    assert renew(datetime(2026, 4, 30, 12, 30, tzinfo=UTC)) == {"renewed": 3, "not due": 1}

    assert [reference.rpartition(":")[2] for reference, _ in renewal_entries(alice)] == [
        "2026-02-28",
        "2026-03-31",
        "2026-04-30",
    ]
    agent.refresh_from_db()
    assert agent.next_renewal_at == datetime(2026, 5, 31, 12, 30, tzinfo=UTC)


def test_the_operators_price_counts(alice: Member) -> None:
    Price.objects.update_or_create(key="persistent_month", defaults={"credits": 7})
    identity(alice)
    renew(FIRST)
    assert alice.credits() == (93, 0)


def test_a_price_of_nothing_renews_without_an_entry(alice: Member) -> None:
    Price.objects.update_or_create(key="persistent_month", defaults={"credits": 0})
    agent = identity(alice)

    renew(FIRST)

    agent.refresh_from_db()
    assert (agent.next_renewal_at, renewal_entries(alice)) == (SECOND, [])


@pytest.mark.parametrize("fields", [{"status": "destroyed"}, {"status": "queued"}, {"next_renewal_at": None}])
def test_who_does_not_run_does_not_pay(alice: Member, fields: dict[str, Any]) -> None:
    identity(alice, **fields)
    assert renew(SECOND) == {}


def test_an_unpaid_month_is_said_once_and_ends_the_identity_after_the_grace(alice: Member) -> None:
    agent = identity(alice)
    spend(alice, 90)
    late = FIRST + timedelta(hours=5)

    for hours in (0, 1, 71):
        assert renew(late + timedelta(hours=hours)) == {"unpaid": 1}

    ((kind, data),) = alice.events()
    assert kind == "agent.renewal_failed"
    assert (data["agent_id"], data["error_code"]) == (agent.id, "INSUFFICIENT_CREDIT")
    assert "30 needed, 10 available" in data["error_message"]
    assert rfc3339(late + timedelta(days=3)) in data["error_message"]

    assert renew(late + timedelta(days=3)) == {"destroyed": 1}
    agent.refresh_from_db()
    assert (agent.status, agent.end_reason, agent.cost_credits) == ("destroyed", "renewal_failed", 30)
    assert [(kind, data.get("reason")) for kind, data in alice.events()][1:] == [("agent.destroyed", "renewal_failed")]
    assert alice.credits() == (10, 0)
    assert renew(late + timedelta(days=4)) == {}


def test_a_top_up_within_the_grace_renews(alice: Member) -> None:
    agent = identity(alice)
    spend(alice, 90)
    renew(FIRST)
    billing.top_up(workspace_id=alice.workspace.id, amount=25, reference="t", description="")

    assert renew(FIRST + timedelta(days=2)) == {"renewed": 1, "not due": 1}

    agent.refresh_from_db()
    assert (agent.next_renewal_at, agent.renewal_failed_at) == (SECOND, None), "the months stay where they were"
    assert alice.credits() == (5, 0)


def test_the_next_unpaid_month_is_said_again(alice: Member) -> None:
    identity(alice)
    spend(alice, 90)
    renew(FIRST)
    billing.top_up(workspace_id=alice.workspace.id, amount=20, reference="t", description="")
    renew(FIRST + timedelta(days=1))

    renew(SECOND)

    assert [kind for kind, _ in alice.events()] == ["agent.renewal_failed", "agent.renewed", "agent.renewal_failed"]


def test_what_is_held_pays_no_month(alice: Member) -> None:
    identity(alice)
    billing.hold(workspace_id=alice.workspace.id, amount=80, reference="r", source=billing.Source())

    assert renew(FIRST) == {"unpaid": 1}
    assert alice.credits() == (100, 80)


def test_without_grace_it_ends_at_the_next_tick(alice: Member, settings: Any) -> None:
    settings.RENEWAL_GRACE_DAYS = 0
    identity(alice)
    spend(alice, 100)

    assert renew(FIRST) == {"unpaid": 1}, "it is said first"
    assert renew(FIRST + timedelta(minutes=1)) == {"destroyed": 1}


def test_an_unpaid_renewal_does_not_delay_the_others(alice: Member, bob: Member) -> None:
    identity(alice)
    identity(bob)
    spend(alice, 100)

    assert renew(FIRST) == {"renewed": 1, "not due": 1, "unpaid": 1}
    assert bob.credits() == (70, 0)


def test_the_tick_does_it(alice: Member) -> None:
    began = timezone.now() - timedelta(days=32)
    identity(alice, created_at=began, started_at=began, next_renewal_at=month_after(began, 1))

    tick()

    assert alice.credits() == (70, 0)


def test_every_outcome_is_counted(alice: Member) -> None:
    assert set(renewals.renew()) == set(RenewalOutcome)


@pytest.mark.parametrize(
    ("began", "count", "begins"),
    [
        ("2026-01-15", 1, "2026-02-15"),
        ("2026-01-31", 1, "2026-02-28"),
        ("2026-01-31", 2, "2026-03-31"),
        ("2026-01-31", 13, "2027-02-28"),
        ("2027-11-30", 3, "2028-02-29"),
        ("2028-02-29", 12, "2029-02-28"),
        ("2028-02-29", 48, "2032-02-29"),
        ("2026-12-31", 1, "2027-01-31"),
    ],
)
def test_months_are_counted_from_the_day_it_began(began: str, count: int, begins: str) -> None:
    anchor = datetime.fromisoformat(f"{began}T23:59:59+00:00")
    assert month_after(anchor, count) == datetime.fromisoformat(f"{begins}T23:59:59+00:00")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(anchor=moments, months=st.integers(1, 200))
def test_each_month_follows_the_one_before(anchor: datetime, months: int) -> None:
    this, following = month_after(anchor, months), month_after(anchor, months + 1)

    assert next_month(anchor, after=this) == following
    assert next_month(anchor, after=following - timedelta(microseconds=1)) == following
    assert timedelta(days=28) <= following - this <= timedelta(days=31)
    last_day = calendar.monthrange(this.year, this.month)[1]
    assert this.day == min(anchor.day, last_day)
    assert this.timetz() == anchor.timetz()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(anchor=moments, after=moments)
def test_the_next_month_is_the_first_that_is_later(anchor: datetime, after: datetime) -> None:
    begins = next_month(anchor, after=after)

    every = [month_after(anchor, count) for count in range(1, 140)]
    assert begins == next(moment for moment in every if moment > after)
