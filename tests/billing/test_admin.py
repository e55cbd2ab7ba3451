"""Operators move credits by a form that appends; they can look at all the rest, and change none of it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from apps.accounts.models import User
from apps.billing import services
from apps.billing.models import Checkout, CreditAccount, Hold, LedgerEntry, Price
from apps.billing.verification import problems
from tests.cast import Member

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("ops@example.com", "a long password"))
    return client


def page(member: Member) -> str:
    return f"/admin/billing/creditaccount/{member.workspace.id}/move/"


def move(client: Client, member: Member, kind: str, credits: object, **fields: Any) -> Any:
    form = {"kind": kind, "credits": credits, "reason": "a reason", "token": uuid.uuid4(), **fields}
    return client.post(page(member), form)


@pytest.mark.parametrize(
    ("kind", "credits", "balance"),
    [("top_up", 50, 150), ("adjustment", 5, 105), ("adjustment", -5, 95), ("refund", 30, 70)],
)
def test_credits_move_by_the_form(operator: Client, alice: Member, kind: str, credits: int, balance: int) -> None:
    assert "Top up, adjust or refund" in operator.get(page(alice).replace("move", "change")).content.decode()
    assert operator.get(page(alice)).status_code == 200

    reply = move(operator, alice, kind, credits)

    assert (reply.status_code, alice.credits()) == (302, (balance, 0))
    entry = LedgerEntry.objects.order_by("-seq")[0]
    assert (entry.kind, entry.description) == (kind, "a reason (by ops@example.com)")
    assert LogEntry.objects.get().change_message
    assert list(problems()) == []


def test_a_form_that_is_sent_twice_moves_once(operator: Client, alice: Member) -> None:
    token = uuid.uuid4()
    for _ in range(2):
        move(operator, alice, "top_up", 50, token=token)

    assert alice.credits() == (150, 0)


@pytest.mark.parametrize(
    ("kind", "credits", "complaint"),
    [
        ("top_up", 0, "Must be positive"),
        ("top_up", -5, "only an adjustment"),
        ("refund", -5, "only an adjustment"),
        ("adjustment", 0, "Must be positive"),
        ("adjustment", -61, "61 needed, 60 available"),
        ("refund", 61, "61 needed, 60 available"),
        ("grant", 5, "Select a valid choice"),
        ("top_up", "x", "whole number"),
        ("top_up", 10**10, "less than or equal"),
    ],
)
def test_the_form_names_invalid_fields(
    operator: Client, alice: Member, kind: str, credits: object, complaint: str
) -> None:
    services.hold(workspace_id=alice.workspace.id, amount=40, reference="r", source=services.Source())

    reply = move(operator, alice, kind, credits)

    assert (reply.status_code, alice.credits()) == (200, (100, 40))
    assert complaint in reply.content.decode()


def test_a_reason_is_needed(operator: Client, alice: Member) -> None:
    assert move(operator, alice, "top_up", 5, reason="").status_code == 200
    assert alice.credits() == (100, 0)


@pytest.mark.parametrize(("permissions", "balance"), [(["view"], 100), (["view", "change"], 150)])
def test_who_may_only_look_moves_nothing(alice: Member, permissions: list[str], balance: int) -> None:
    staff = User.objects.create_user("staff@example.com", "a long password", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename__in=[f"{p}_creditaccount" for p in permissions]))
    client = Client()
    client.force_login(staff)

    move(client, alice, "top_up", 50)

    assert alice.credits() == (balance, 0)


def test_an_unknown_account_is_404(operator: Client) -> None:
    assert operator.get(f"/admin/billing/creditaccount/{uuid.uuid4()}/move/").status_code == 404


def test_a_workspaces_page_shows_what_it_has(operator: Client, alice: Member) -> None:
    services.hold(workspace_id=alice.workspace.id, amount=40, reference="r", source=services.Source())

    format_amount = operator.get(f"/admin/accounts/workspace/{alice.workspace.id}/change/").content.decode()

    assert "100 of which 40 are held and 60 available" in format_amount
    assert f"/admin/billing/creditaccount/{alice.workspace.id}/change/" in format_amount
    assert operator.get("/admin/accounts/workspace/add/").status_code == 200


@pytest.mark.parametrize("model", ["ledgerentry", "hold", "creditaccount", "checkout"])
def test_nothing_of_money_is_edited(operator: Client, alice: Member, model: str) -> None:
    services.hold(workspace_id=alice.workspace.id, amount=40, reference="r", source=services.Source())
    Checkout.objects.create(
        workspace=alice.workspace, credits=1, amount=1, currency="usd", created_at=timezone.now(), status="review"
    )
    row = {"ledgerentry": LedgerEntry, "hold": Hold, "checkout": Checkout}.get(model, CreditAccount)
    pk = row._default_manager.all()[0].pk

    assert operator.get(f"/admin/billing/{model}/?workspace__id__exact={alice.workspace.id}").status_code == 200
    assert operator.get(f"/admin/billing/{model}/add/").status_code == 403
    assert operator.post(f"/admin/billing/{model}/{pk}/change/", {}).status_code == 403
    assert operator.post(f"/admin/billing/{model}/{pk}/delete/", {"post": "yes"}).status_code == 403
    reply = operator.post(f"/admin/billing/{model}/", {"action": "delete_selected", "_selected_action": [str(pk)]})
    assert reply.status_code in (200, 302, 403)
    assert row._default_manager.filter(pk=pk).exists()


def test_prices_are_edited_and_only_known_ones(operator: Client) -> None:
    change = "/admin/billing/price/quick_5Fpage/change/"
    Price.objects.update_or_create(key="quick_page", defaults={"credits": 1})

    assert operator.post(change, {"key": "other", "credits": "3"}).status_code == 302
    assert Price.objects.get(key="quick_page").credits == 3
    for wrong in ("-1", "x", "1000001"):
        assert operator.post(change, {"credits": wrong}).status_code == 200
    added = operator.post("/admin/billing/price/add/", {"key": "quick_pgae", "credits": "3"})
    assert "There is no such price" in added.content.decode()
    assert Price.objects.get(key="quick_page").credits == 3
