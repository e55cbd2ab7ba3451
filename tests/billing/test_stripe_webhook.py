"""What Stripe reports: believed only when signed, taken in any order, granted once."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from apps.billing.models import Checkout, LedgerEntry
from apps.billing.verification import problems
from tests.cast import Member, Reply, at_once, call, join
from tests.fakes.stripe import FakeStripe, signature

pytestmark = pytest.mark.django_db

COMPLETED = "checkout.session.completed"
SUCCEEDED = "checkout.session.async_payment_succeeded"
FAILED = "checkout.session.async_payment_failed"
EXPIRED = "checkout.session.expired"
REFUNDED = "charge.refunded"


def send(body: bytes, header: str | None = None) -> Reply:
    headers = {"Stripe-Signature": signature(body) if header is None else header}
    return call("POST", "/webhooks/stripe", content=body, headers=headers)


def buy(member: Member, stripe: FakeStripe, credits: int = 500) -> str:
    reply = member.post("/v1/credits/checkout", {"credits": credits})
    assert reply.status == 201, reply.content
    session_id: str = reply.body["session_id"]
    return session_id


def the_checkout() -> Checkout:
    return Checkout.objects.get()


def kinds(member: Member) -> list[tuple[str, int]]:
    rows = LedgerEntry.objects.filter(workspace=member.workspace).order_by("seq")
    return list(rows.values_list("kind", "amount"))[1:]


def test_a_paid_checkout_is_granted(alice: Member, stripe: FakeStripe) -> None:
    paid = stripe.event(COMPLETED, stripe.pay(buy(alice, stripe)))

    assert (send(paid).status, send(paid).body) == (200, {"received": True})

    assert alice.credits() == (600, 0)
    row, entry = the_checkout(), alice.get("/v1/credits/ledger").body["entries"][0]
    assert (row.status, row.paid_at is not None) == ("paid", True)
    assert (entry["kind"], entry["amount"], entry["description"]) == ("top_up", 500, "Bought for 10.00 USD")
    assert entry["reference"] == f"checkout:{row.id}"
    assert alice.get(f"/v1/credits/checkout/{row.id}").body["checkout_url"] == ""


@pytest.mark.parametrize("repeats", [2, 5])
def test_repeats_in_any_order_grant_once(alice: Member, stripe: FakeStripe, repeats: int) -> None:
    session = stripe.pay(buy(alice, stripe))
    events = [stripe.event(kind, session) for kind in (COMPLETED, SUCCEEDED)] * repeats
    random.Random(repeats).shuffle(events)  # noqa: S311

    assert {send(event).status for event in events} == {200}

    assert alice.credits() == (600, 0)
    assert list(problems()) == []


@pytest.mark.django_db(transaction=True)
def test_twenty_at_once_grant_once(stripe: FakeStripe) -> None:
    alice = join("alice")
    event = stripe.event(COMPLETED, stripe.pay(buy(alice, stripe)))

    assert at_once(20, lambda _: send(event).status) == [200] * 20

    assert alice.credits() == (600, 0)
    assert kinds(alice) == [("top_up", 500)]
    assert list(problems()) == []


def test_a_delayed_payment_is_granted_when_it_arrives(alice: Member, stripe: FakeStripe) -> None:
    session_id = buy(alice, stripe)
    completed = stripe.event(COMPLETED, stripe.pay(session_id, delayed=True))
    send(completed)
    assert (alice.credits(), the_checkout().status) == ((100, 0), "pending")

    succeeded = stripe.event(SUCCEEDED, stripe.pay(session_id))
    for event in (succeeded, completed, succeeded):
        send(event)

    assert (alice.credits(), the_checkout().status) == ((600, 0), "paid")


@pytest.mark.parametrize(("kind", "status"), [(FAILED, "failed"), (EXPIRED, "expired")])
def test_what_came_to_nothing_grants_nothing(alice: Member, stripe: FakeStripe, kind: str, status: str) -> None:
    session_id = buy(alice, stripe)
    session = stripe.pay(session_id, delayed=True) if kind == FAILED else stripe.expire(session_id)

    for _ in range(2):
        assert send(stripe.event(kind, session)).status == 200

    assert (alice.credits(), the_checkout().status) == ((100, 0), status)


def test_a_payment_counts_after_any_earlier_event(alice: Member, stripe: FakeStripe) -> None:
    session_id = buy(alice, stripe)
    early = stripe.event(FAILED, stripe.pay(session_id, delayed=True))
    send(early)
    send(stripe.event(SUCCEEDED, stripe.pay(session_id)))
    send(early)

    assert (alice.credits(), the_checkout().status) == ((600, 0), "paid")


def test_an_event_may_be_faster_than_the_answer_it_is_about(
    alice: Member, stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our row does not know its session's id yet: it is found by the reference it gave."""
    create = stripe._create

    def pay_meanwhile(params: dict[str, str], key: str) -> tuple[int, dict[str, Any]]:
        status, session = create(params, key)
        event = stripe.event(COMPLETED, {**session, "status": "complete", "payment_status": "paid"})
        early.append(event)
        return status, session

    early: list[bytes] = []
    monkeypatch.setattr(stripe, "_create", pay_meanwhile)
    from apps.billing.services import checkouts

    keep = checkouts._store_session

    def event_first(checkout: Checkout, session: Any) -> None:
        assert send(early[0]).status == 200
        assert the_checkout().status == "paid"
        keep(checkout, session)

    monkeypatch.setattr(checkouts, "_store_session", event_first)
    session_id = buy(alice, stripe)

    row = the_checkout()
    assert (row.status, row.session_id) == ("paid", session_id)
    assert row.url
    assert alice.credits() == (600, 0)


@pytest.mark.parametrize(
    "changes", [{"amount_total": 999}, {"currency": "eur"}, {"amount_total": None}, {"id": "cs_other"}]
)
def test_another_amount_than_was_asked_for_is_left_to_the_operator(
    alice: Member, stripe: FakeStripe, changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    session = {**stripe.pay(buy(alice, stripe)), **changes}

    for _ in range(2):
        assert send(stripe.event(COMPLETED, session)).status == 200

    row = the_checkout()
    assert (alice.credits(), row.status) == ((100, 0), "review")
    assert "paid" in row.problem
    assert "does not match" in caplog.text


def test_credits_come_from_our_row_and_not_from_the_event(alice: Member, stripe: FakeStripe) -> None:
    session = stripe.pay(buy(alice, stripe))

    send(stripe.event(COMPLETED, {**session, "metadata": {**session["metadata"], "credits": "1000000"}}))

    assert alice.credits() == (600, 0)


def test_a_refund_takes_the_credits_back(alice: Member, stripe: FakeStripe) -> None:
    session_id = buy(alice, stripe)
    send(stripe.event(COMPLETED, stripe.pay(session_id)))

    for _ in range(2):
        assert send(stripe.event(REFUNDED, stripe.charge(session_id, 1000))).status == 200

    row = the_checkout()
    assert alice.credits() == (100, 0)
    assert (row.status, row.refunded_credits, row.owed_credits) == ("refunded", 500, 0)
    assert kinds(alice) == [("top_up", 500), ("refund", -500)]
    send(stripe.event(COMPLETED, stripe.sessions[session_id]))
    assert alice.credits() == (100, 0), "what was paid back isn't granted again"


def test_partial_refunds_add_up_in_any_order(alice: Member, stripe: FakeStripe) -> None:
    session_id = buy(alice, stripe)
    send(stripe.event(COMPLETED, stripe.pay(session_id)))
    parts = [stripe.event(REFUNDED, stripe.charge(session_id, refunded)) for refunded in (333, 1000, 333, 500)]

    send(parts[0])
    assert (alice.credits(), the_checkout().status) == ((100 + 500 - 166, 0), "paid")
    for event in parts:
        send(event)

    assert (alice.credits(), the_checkout().status) == ((100, 0), "refunded")
    assert list(problems()) == []


def test_a_refund_may_arrive_before_the_payment(alice: Member, stripe: FakeStripe) -> None:
    session_id = buy(alice, stripe)
    paid = stripe.event(COMPLETED, stripe.pay(session_id))
    send(stripe.event(REFUNDED, stripe.charge(session_id, 400)))
    assert alice.credits() == (100, 0)

    send(paid)

    assert kinds(alice) == [("top_up", 500), ("refund", -200)]


def test_spent_credits_are_owed_and_nothing_is_ever_negative(
    alice: Member, stripe: FakeStripe, caplog: pytest.LogCaptureFixture
) -> None:
    from apps.billing import services

    session_id = buy(alice, stripe)
    send(stripe.event(COMPLETED, stripe.pay(session_id)))
    services.hold(workspace_id=alice.workspace.id, amount=590, reference="r", source=services.Source())

    for refunded in (500, 1000, 1000):
        assert send(stripe.event(REFUNDED, stripe.charge(session_id, refunded))).status == 200

    row = the_checkout()
    assert alice.credits() == (590, 590)
    assert (row.status, row.refunded_credits, row.owed_credits) == ("refunded", 10, 490)
    assert "already spent" in caplog.text


def test_a_refund_of_an_older_kind_is_found_by_its_payment(alice: Member, stripe: FakeStripe) -> None:
    session_id = buy(alice, stripe)
    send(stripe.event(COMPLETED, stripe.pay(session_id)))

    send(stripe.event(REFUNDED, stripe.charge(session_id, 1000, metadata={})))

    assert the_checkout().status == "refunded"


def test_a_refund_of_another_amount_is_left_to_the_operator(alice: Member, stripe: FakeStripe) -> None:
    session_id = buy(alice, stripe)
    send(stripe.event(COMPLETED, stripe.pay(session_id)))

    send(stripe.event(REFUNDED, stripe.charge(session_id, 5, amount=5)))

    assert (alice.credits(), the_checkout().status) == ((600, 0), "paid")
    assert "5 usd was refunded" in the_checkout().problem


def test_events_of_others_are_passed_over(db: None, stripe: FakeStripe) -> None:
    others = {"id": "cs_x", "client_reference_id": "cart 7", "payment_status": "paid"}
    charge = {"amount": 5, "amount_refunded": 5, "currency": "usd"}

    for kind, about in ((COMPLETED, others), (REFUNDED, charge), ("customer.created", {"id": "cus_1"})):
        assert send(stripe.event(kind, about)).body == {"received": True}


@pytest.mark.parametrize(
    "forge",
    [
        lambda body: "",
        lambda body: "nonsense",
        lambda body: "t=1,v1=é",
        lambda body: "t=x,v1=00",
        lambda body: signature(body, secret="whsec_other"),
        lambda body: signature(body + b" "),
        lambda body: signature(body).replace("v1=", "v0="),
        lambda body: signature(body, at=time.time() - 301),
    ],
)
def test_what_stripe_did_not_sign_is_refused(alice: Member, stripe: FakeStripe, forge: Callable[[bytes], str]) -> None:
    body = stripe.event(COMPLETED, stripe.pay(buy(alice, stripe)))

    reply = send(body, forge(body))

    assert (reply.status, reply.code) == (400, "BAD_REQUEST")
    assert reply.body["request_id"] == reply.headers["X-Request-Id"]
    assert alice.credits() == (100, 0)


def test_one_good_signature_of_several_is_enough(alice: Member, stripe: FakeStripe) -> None:
    """As while a secret is rolled."""
    body = stripe.event(COMPLETED, stripe.pay(buy(alice, stripe)))
    good = signature(body)
    timestamp, _, mac = good.partition(",")

    assert send(body, f"{timestamp},v1={'0' * 64},{mac},v0=1").status == 200
    assert alice.credits() == (600, 0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"type": 5}',
        json.dumps({"type": COMPLETED, "data": []}).encode(),
        json.dumps({"type": COMPLETED, "data": {"object": {"id": 5}}}).encode(),
        json.dumps({"type": REFUNDED, "data": {"object": {"amount": True}}}).encode(),
    ],
)
def test_an_invalid_event_is_refused(db: None, stripe: FakeStripe, body: bytes) -> None:
    assert send(body).code == "BAD_REQUEST"


def test_without_a_secret_every_event_is_refused(db: None) -> None:
    reply = send(b"{}", signature(b"{}", secret=""))
    assert (reply.status, reply.code) == (503, "NOT_CONFIGURED")


def test_other_methods_and_large_bodies_are_refused(db: None, stripe: FakeStripe) -> None:
    reply = call("GET", "/webhooks/stripe")
    assert (reply.status, reply.headers["Allow"]) == (405, "POST")
    assert send(b" " * (1024 * 1024 + 1)).code == "PAYLOAD_TOO_LARGE"
