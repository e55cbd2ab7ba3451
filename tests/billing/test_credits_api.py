"""`/v1/credits` and its commands."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from apps.billing.models import Price
from apps.billing.serializers import LedgerEntrySerializer
from apps.jobs.services import completion, creation
from tests.cast import Member
from tests.fakes.runner import FakeRunner

pytestmark = pytest.mark.django_db

PRICES = {
    "signup": 100,
    "burner_per_10_min": 1,
    "country_surcharge": 1,
    "persistent_month": 30,
    "session": 2,
    "task_per_3_steps": 1,
    "quick_page": 1,
    "sandbox_per_10_min": 1,
}


def test_a_fresh_workspace_has_100_credits(alice: Member) -> None:
    assert alice.get("/v1/credits").body == {"balance": 100, "held": 0, "available": 100, "prices": PRICES}


def test_the_operators_prices_are_shown_and_charged(alice: Member, runner: FakeRunner) -> None:
    Price.objects.update_or_create(key="burner_per_10_min", defaults={"credits": 5})

    alice.burner(ttl="20m")

    body = alice.get("/v1/credits").body
    assert body["prices"] == {**PRICES, "burner_per_10_min": 5}
    assert (body["balance"], body["held"], body["available"]) == (100, 10, 90)


def test_a_running_agent_keeps_the_price_it_started_with(alice: Member, runner: FakeRunner) -> None:
    agent = alice.burner()
    Price.objects.update_or_create(key="burner_per_10_min", defaults={"credits": 50})

    alice.delete(f"/v1/agents/{agent['id']}")

    assert alice.credits() == (99, 0)


def test_the_ledger_says_what_was_spent_and_on_what(alice: Member, runner: FakeRunner) -> None:
    agent = alice.burner()
    alice.delete(f"/v1/agents/{agent['id']}")

    capture, hold, grant = alice.get("/v1/credits/ledger").body["entries"]

    assert (capture["kind"], capture["amount"], capture["balance_after"]) == ("capture", -1, 99)
    assert (hold["kind"], hold["amount"], hold["held_change"]) == ("hold", 0, 1)
    assert (grant["kind"], grant["amount"], grant["agent_id"]) == ("grant", 100, None)
    assert capture["agent_id"] == hold["agent_id"] == agent["id"]
    assert [entry["seq"] for entry in (capture, hold, grant)] == [3, 2, 1]
    assert capture.keys() == LedgerEntrySerializer().fields.keys()


def test_the_ledger_comes_in_pages(alice: Member, runner: FakeRunner) -> None:
    alice.delete(f"/v1/agents/{alice.burner()['id']}")

    first = alice.get("/v1/credits/ledger?limit=2").body
    second = alice.get(f"/v1/credits/ledger?limit=2&cursor={first['next_cursor']}").body

    assert [entry["seq"] for entry in first["entries"] + second["entries"]] == [3, 2, 1]
    assert second["next_cursor"] is None


@pytest.mark.parametrize("cursor", ["WyJ4Il0", "W10", "WzFlOTldKQ", "WzEwMDAwMDAwMDAwMDAwMDAwMDAwMF0"])
def test_a_made_up_cursor_is_refused(alice: Member, cursor: str) -> None:
    assert alice.get(f"/v1/credits/ledger?cursor={cursor}").status == 400


def test_anothers_ledger_is_not_shown(alice: Member, bob: Member, runner: FakeRunner) -> None:
    alice.burner()

    assert [entry["kind"] for entry in bob.get("/v1/credits/ledger").body["entries"]] == ["grant"]


def test_top_up_adds_credits_with_a_reason(alice: Member) -> None:
    out = io.StringIO()

    call_command("top_up", "alice", "50", "--reason", "invoice 7", stdout=out)

    assert out.getvalue() == "150\n"
    newest = alice.get("/v1/credits/ledger").body["entries"][0]
    assert (newest["kind"], newest["amount"], newest["description"]) == ("top_up", 50, "invoice 7")


def test_top_up_with_a_reference_adds_once(alice: Member) -> None:
    for _ in range(2):
        call_command("top_up", "alice", "50", "--reason", "x", "--reference", "invoice-7", stdout=io.StringIO())

    assert alice.credits() == (150, 0)


@pytest.mark.parametrize("credits", ["0", "-5", "10000000000"])
def test_top_up_refuses_invalid_amounts(alice: Member, credits: str) -> None:
    with pytest.raises(CommandError):
        call_command("top_up", "--reason", "x", "--", "alice", credits)


def test_adjust_corrects_credits_with_a_reason(alice: Member) -> None:
    out = io.StringIO()

    call_command("adjust", "alice", "5", "--reason", "an outage", stdout=out)
    call_command("adjust", "--reason", "a mistake", "--", "alice", "-3", stdout=out)

    assert out.getvalue() == "105\n102\n"
    newest = alice.get("/v1/credits/ledger").body["entries"][0]
    assert (newest["kind"], newest["amount"], newest["description"]) == ("adjustment", -3, "a mistake")


def test_refund_takes_credits_back_once(alice: Member) -> None:
    for _ in range(2):
        call_command("refund", "alice", "40", "--reason", "x", "--reference", "invoice-7", stdout=io.StringIO())

    assert alice.credits() == (60, 0)
    assert alice.get("/v1/credits/ledger").body["entries"][0]["kind"] == "refund"


@pytest.mark.parametrize("command", [["adjust", "-101"], ["refund", "101"]])
def test_commands_take_no_more_than_is_available(alice: Member, command: list[str]) -> None:
    name, credits = command
    with pytest.raises(CommandError, match="101 needed, 100 available"):
        call_command(name, "--reason", "x", "--", "alice", credits)


@pytest.mark.parametrize("command", [["adjust", "0"], ["refund", "0"], ["refund", "-1"], ["adjust", "10000000000"]])
def test_commands_refuse_senseless_amounts(alice: Member, command: list[str]) -> None:
    name, credits = command
    with pytest.raises(CommandError, match="CREDITS must be"):
        call_command(name, "--reason", "x", "--", "alice", credits)


@pytest.mark.parametrize("command", ["top_up", "adjust", "refund"])
def test_commands_want_a_reason(alice: Member, command: str) -> None:
    with pytest.raises(CommandError, match="--reason must have 1 to 500"):
        call_command(command, "alice", "5", "--reason", " ")


@pytest.mark.parametrize(
    ("kind", "changes", "description"),
    [
        ("task", {"step_count": 7}, "Task, 7 steps"),
        ("batch", {"progress_done": 1}, "Batch, 1 page"),
        ("scrape", {}, "Scrape"),
    ],
)
def test_a_capture_says_what_for(alice: Member, kind: Any, changes: dict[str, int], description: str) -> None:
    job = creation.create_job(
        workspace_id=alice.workspace.id, kind=kind, params={}, hold=5, progress_total=None, sync=True
    )
    for name, value in changes.items():
        setattr(job, name, value)

    assert completion._description(job, "completed") == description
    assert completion._description(job, "cancelled") == f"{description}, cancelled"


def test_the_ledger_has_the_names_of_the_public_client_too(alice: Member, runner: FakeRunner) -> None:
    alice.burner()

    body = alice.get("/v1/credits/ledger?limit=1").body

    (entry,) = body["entries"]
    assert (body["count"], body["balance"]) == (1, alice.credits()[0])
    assert (entry["delta"], entry["balance"], entry["reason"]) == (
        entry["amount"],
        entry["balance_after"],
        entry["description"],
    )
