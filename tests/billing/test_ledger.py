"""The law of money: append-only, gapless, chained, each reference once, never below zero."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from apps.billing import services
from apps.billing.models import CreditAccount, Hold, LedgerEntry
from apps.billing.verification import problems
from apps.core.errors import InsufficientCredit
from tests.cast import Member, at_once, join, without_ledger_triggers

pytestmark = pytest.mark.django_db

NOTHING = services.Source()


def hold(member: Member, amount: int, reference: str = "r") -> Hold:
    return services.hold(workspace_id=member.workspace.id, amount=amount, reference=reference, source=NOTHING)


def settle(member: Member, used: int, reference: str = "r") -> Hold:
    return services.settle(workspace_id=member.workspace.id, reference=reference, used=used)


def lines(member: Member) -> list[tuple[int, str, int, int, int, int]]:
    rows = LedgerEntry.objects.filter(workspace=member.workspace).order_by("seq")
    return list(rows.values_list("seq", "kind", "amount", "held_change", "balance_after", "held_after"))


def test_a_hold_changes_what_is_held_and_a_capture_the_balance(alice: Member) -> None:
    hold(alice, 7)
    assert alice.credits() == (100, 7)
    settle(alice, 5)
    assert alice.credits() == (95, 0)
    assert lines(alice) == [
        (1, "grant", 100, 0, 100, 0),
        (2, "hold", 0, 7, 100, 7),
        (3, "capture", -5, -5, 95, 2),
        (4, "release", 0, -2, 95, 0),
    ]


@pytest.mark.parametrize(("used", "kinds"), [(0, ["release"]), (7, ["capture"])])
def test_nothing_is_written_about_nothing(alice: Member, used: int, kinds: list[str]) -> None:
    hold(alice, 7)
    settle(alice, used)

    assert [kind for _, kind, *_ in lines(alice)[2:]] == kinds


def test_a_repeat_returns_the_first_outcome_and_changes_nothing(alice: Member) -> None:
    first = hold(alice, 7)
    assert hold(alice, 50) == first
    settled = settle(alice, 5)
    assert settle(alice, 2).captured == settled.captured == 5
    assert hold(alice, 50).status == "settled"
    for _ in range(2):
        services.grant(workspace_id=alice.workspace.id, amount=3, reference="g", description="")
        services.top_up(workspace_id=alice.workspace.id, amount=4, reference="t", description="")
    assert alice.credits() == (102, 0)


def test_a_reference_is_each_workspaces_own(alice: Member, bob: Member) -> None:
    hold(alice, 7)
    hold(bob, 8)

    assert (alice.credits(), bob.credits()) == ((100, 7), (100, 8))


def test_held_credits_cannot_be_held_again(alice: Member) -> None:
    hold(alice, 60, "a")
    with pytest.raises(InsufficientCredit, match="41 needed, 40 available"):
        hold(alice, 41, "b")
    hold(alice, 40, "b")
    assert alice.credits() == (100, 100)


@pytest.mark.parametrize("used", [-1, 8])
def test_more_than_was_held_cannot_be_captured(alice: Member, used: int) -> None:
    hold(alice, 7)
    with pytest.raises(ValueError, match="of 7 held"):
        settle(alice, used)
    assert alice.credits() == (100, 7)


@pytest.mark.parametrize("amount", [0, -1])
def test_only_positive_amounts_are_added(alice: Member, amount: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        services.grant(workspace_id=alice.workspace.id, amount=amount, reference="g", description="")


@pytest.mark.parametrize(
    "forbidden",
    [
        "UPDATE billing_ledgerentry SET amount = 1000",
        "UPDATE billing_ledgerentry SET description = description",
        "DELETE FROM billing_ledgerentry",
        "TRUNCATE billing_ledgerentry CASCADE",
        "UPDATE billing_creditaccount SET balance = -1",
        "UPDATE billing_creditaccount SET held = balance + 1",
        "UPDATE billing_hold SET captured = amount + 1, status = 'settled', settled_at = now()",
        "UPDATE billing_hold SET status = 'settled'",
        "UPDATE billing_hold SET amount = 1",
        "UPDATE billing_hold SET reference = 'another'",
        "DELETE FROM billing_hold",
        "TRUNCATE billing_hold",
        "DELETE FROM billing_creditaccount",
        "TRUNCATE billing_creditaccount",
    ],
)
def test_the_database_itself_refuses(alice: Member, forbidden: str) -> None:
    hold(alice, 7)

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(forbidden)


@pytest.mark.parametrize(
    "forbidden",
    [
        "UPDATE billing_hold SET status = 'open', captured = NULL, settled_at = NULL",
        "UPDATE billing_hold SET captured = 0",
        "UPDATE billing_hold SET expires_at = now()",
    ],
)
def test_a_settled_hold_stays_as_it_is(alice: Member, forbidden: str) -> None:
    hold(alice, 7)
    settle(alice, 5)

    with pytest.raises(DatabaseError, match="does not change"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(forbidden)


def test_every_kind_of_entry_can_be_made(alice: Member) -> None:
    which: dict[str, Any] = {"workspace_id": alice.workspace.id}
    services.top_up(**which, amount=50, reference="a", description="invoice 7")
    services.adjust(**which, amount=5, reference="b", description="sorry")
    services.adjust(**which, amount=-1, reference="c", description="that was too much")
    services.refund(**which, amount=20, reference="d", description="invoice 7 was paid back")
    services.renew(**which, amount=30, reference="e", source=services.Source("Renewal", agent_id="agt_1"))
    hold(alice, 7)
    settle(alice, 5)

    assert [(kind, amount) for _, kind, amount, *_ in lines(alice)] == [
        ("grant", 100),
        ("top_up", 50),
        ("adjustment", 5),
        ("adjustment", -1),
        ("refund", -20),
        ("renewal", -30),
        ("hold", 0),
        ("capture", -5),
        ("release", 0),
    ]
    assert {kind for _, kind, *_ in lines(alice)} == set(LedgerEntry.Kind.values)
    assert list(problems()) == []


@pytest.mark.parametrize("take", ["adjust", "refund", "renew"])
def test_what_is_held_is_never_taken(alice: Member, take: str) -> None:
    hold(alice, 60)
    which: dict[str, Any] = {"workspace_id": alice.workspace.id, "reference": "x"}

    def attempt(amount: int) -> None:
        if take == "adjust":
            services.adjust(**which, amount=-amount, description="")
        elif take == "refund":
            services.refund(**which, amount=amount, description="")
        else:
            services.renew(**which, amount=amount, source=NOTHING)

    with pytest.raises(InsufficientCredit, match="41 needed, 40 available"):
        attempt(41)
    for _ in range(2):
        attempt(40)
    assert alice.credits() == (60, 60)


def test_an_adjustment_of_nothing_is_refused(alice: Member) -> None:
    with pytest.raises(ValueError, match="must not be 0"):
        services.adjust(workspace_id=alice.workspace.id, amount=0, reference="x", description="")


def test_a_hold_of_nothing_is_settled_too(alice: Member) -> None:
    hold(alice, 0)
    assert settle(alice, 0).status == "settled"
    assert list(problems()) == []


def test_a_refusal_leaves_the_callers_transaction_as_it_was(alice: Member) -> None:
    with transaction.atomic():
        hold(alice, 10, "a")
        with pytest.raises(InsufficientCredit):
            hold(alice, 1000, "b")
        hold(alice, 5, "c")

    assert alice.credits() == (100, 15)


def test_a_sound_ledger_is_said_to_be_sound(alice: Member) -> None:
    hold(alice, 7)
    settle(alice, 5)
    out = io.StringIO()
    call_command("verify_ledger", stdout=out)
    assert out.getvalue() == "The ledger adds up.\n"


def _change_history(member: Member) -> None:
    with without_ledger_triggers():
        LedgerEntry.objects.filter(workspace=member.workspace, seq=2).update(description="nothing to see here")


def _inflate(member: Member) -> None:
    with without_ledger_triggers():
        LedgerEntry.objects.filter(workspace=member.workspace, seq=1).update(amount=200, balance_after=200)


def _drop_the_last(member: Member) -> None:
    with without_ledger_triggers():
        LedgerEntry.objects.filter(workspace=member.workspace).order_by("-seq")[0].delete()


def _drop_a_middle_one(member: Member) -> None:
    with without_ledger_triggers():
        LedgerEntry.objects.filter(workspace=member.workspace, seq=2).delete()


def _raise_the_balance(member: Member) -> None:
    CreditAccount.objects.filter(workspace=member.workspace).update(balance=1000)


def _lose_a_hold(member: Member) -> None:
    with without_ledger_triggers():
        Hold.objects.filter(workspace=member.workspace, status="open").delete()


def _understate_a_capture(member: Member) -> None:
    with without_ledger_triggers():
        Hold.objects.filter(workspace=member.workspace, status="settled").update(captured=1)


def _reopen_a_hold(member: Member) -> None:
    with without_ledger_triggers():
        settled = Hold.objects.filter(workspace=member.workspace, status="settled")
        settled.update(status="open", captured=None, settled_at=None)


def _invent_a_hold(member: Member) -> None:
    Hold.objects.create(
        workspace=member.workspace, reference="x", amount=1, created_at=timezone.now(), expires_at=timezone.now()
    )


@pytest.mark.parametrize(
    ("crime", "found"),
    [
        (_change_history, "seq 2"),
        (_inflate, "seq 1"),
        (_drop_the_last, "its account says"),
        (_drop_a_middle_one, "seq 3"),
        (_raise_the_balance, "its account says"),
        (_lose_a_hold, "(seq 5) is about open:hold, and there is no such hold"),
        (_understate_a_capture, "hold r of 7 is settled with 1 captured; its ledger says held 7, captured 5"),
        (_reopen_a_hold, "hold r of 7 is open with 0 captured; its ledger says held 7, captured 5, released 2"),
        (_invent_a_hold, "hold x of 1 is open with 0 captured; its ledger says held None"),
    ],
)
def test_every_crime_is_found_and_the_first_wrong_row_named(
    alice: Member, bob: Member, crime: Callable[[Member], None], found: str
) -> None:
    hold(alice, 7)
    settle(alice, 5)
    hold(alice, 3, "open")
    assert list(problems()) == []

    crime(alice)

    errors = io.StringIO()
    with pytest.raises(CommandError, match="1 workspace"):
        call_command("verify_ledger", stderr=errors)
    assert found in errors.getvalue()
    assert str(alice.workspace.id) in errors.getvalue()


@pytest.mark.django_db(transaction=True)
def test_twenty_holds_of_75_at_once_on_500_grant_exactly_six() -> None:
    alice = join("alice")
    services.top_up(workspace_id=alice.workspace.id, amount=400, reference="t", description="")

    def attempt(number: int) -> bool:
        try:
            hold(alice, 75, f"h{number}")
        except InsufficientCredit:
            return False
        return True

    assert sum(at_once(20, attempt)) == 6
    assert alice.credits() == (500, 450)
    assert list(problems()) == []


@pytest.mark.django_db(transaction=True)
def test_one_hold_settled_by_many_is_settled_once() -> None:
    alice = join("alice")
    hold(alice, 9)

    outcomes = at_once(10, lambda number: settle(alice, number).captured)

    assert len(set(outcomes)) == 1
    assert alice.credits() == (100 - (outcomes[0] or 0), 0)
    assert list(problems()) == []


@pytest.mark.django_db(transaction=True)
def test_any_mix_at_once_adds_up() -> None:
    alice = join("alice")

    def spend(number: int) -> None:
        dice = random.Random(number)  # noqa: S311
        for turn in range(10):
            reference = f"{number}.{turn}"
            try:
                held = hold(alice, dice.randint(0, 20), reference)
                settle(alice, dice.randint(0, held.amount), reference)
            except InsufficientCredit:
                services.top_up(workspace_id=alice.workspace.id, amount=5, reference=reference, description="")

    at_once(8, spend)

    assert list(problems()) == []
    assert alice.credits()[1] == 0
