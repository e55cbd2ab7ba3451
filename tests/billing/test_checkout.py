"""Buying credits: what is recorded, what Stripe is asked, and what is answered when it isn't there."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.utils import timezone

from apps.billing import offers, stripe_api
from apps.billing.models import Checkout
from apps.billing.offers import Offer
from apps.billing.services import checkouts, reconciliation
from apps.billing.views import CheckoutsView
from apps.core.errors import UpstreamUnavailable
from browsa import environment
from tasks.billing import purge_unpaid_checkouts, reconcile_checkouts
from tests.cast import Member, Reply, call
from tests.fakes.stripe import FakeStripe

pytestmark = pytest.mark.django_db

BUY = "/v1/credits/checkout"


def later(minutes: float) -> Any:
    return timezone.now() + timedelta(minutes=minutes)


def buy(member: Member, **fields: Any) -> Reply:
    return member.post(BUY, {"credits": 500, **fields})


def start(member: Member) -> Checkout:
    """As the process left it that died before Stripe answered."""
    return checkouts._record(member.workspace.id, Offer(500, 1000), "https://a.example", "https://b.example")


def test_a_checkout_says_where_to_pay(alice: Member, stripe: FakeStripe) -> None:
    reply = buy(
        alice, success_url="https://shop.example/ok?s={CHECKOUT_SESSION_ID}", cancel_url="http://localhost:3000"
    )

    row, (session,) = Checkout.objects.get(), stripe.sessions.values()
    assert reply.status == 201
    assert reply.body == {
        "id": str(row.id),
        "status": "pending",
        "checkout_url": session["url"],
        "session_id": session["id"],
        "credits": 500,
        "amount": 1000,
        "currency": "usd",
        "created_at": reply.body["created_at"],
        "paid_at": None,
    }
    assert (session["amount_total"], session["currency"], session["mode"]) == (1000, "usd", "payment")
    assert session["client_reference_id"] == session["_payment_metadata"]["checkout_id"] == str(row.id)
    assert session["success_url"] == "https://shop.example/ok?s={CHECKOUT_SESSION_ID}"
    assert alice.credits() == (100, 0), "nothing is granted before it is paid"
    assert alice.get(f"{BUY}/{row.id}").body == reply.body


def test_without_a_page_of_its_own_the_client_gets_ours(alice: Member, stripe: FakeStripe) -> None:
    buy(alice)

    (session,) = stripe.sessions.values()
    for url in (session["success_url"], session["cancel_url"]):
        path = url.removeprefix("http://127.0.0.1:8000")
        assert call("GET", path).status == 200


def test_a_pack_has_a_price_of_its_own(alice: Member, stripe: FakeStripe, settings: Any) -> None:
    settings.CREDIT_PACKS = {"large": Offer(10_000, 9_000)}

    body = alice.post(BUY, {"pack": "large"}).body

    assert (body["credits"], body["amount"]) == (10_000, 9_000)
    assert alice.get(BUY).body == {
        "currency": "usd",
        "price": "2",
        "packs": [{"name": "large", "credits": 10_000, "amount": 9_000}],
    }


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "credits"),
        ({"credits": 5, "pack": "x"}, "credits"),
        ({"credits": 0}, "credits"),
        ({"credits": "5"}, "credits"),
        ({"credits": 10_000_001}, "credits"),
        ({"pack": "none"}, "pack"),
        ({"pack": 5}, "pack"),
        ({"credits": 5, "success_url": "javascript:alert(1)"}, "success_url"),
        ({"credits": 5, "success_url": "https://["}, "success_url"),
        ({"credits": 5, "cancel_url": "https://a.example/ b"}, "cancel_url"),
        ({"credits": 5, "cancel_url": "https:///path"}, "cancel_url"),
    ],
)
def test_invalid_fields_are_refused(alice: Member, stripe: FakeStripe, body: Any, field: str) -> None:
    reply = alice.post(BUY, body)

    assert (reply.status, list(reply.body["fields"])) == (400, [field])
    assert not Checkout.objects.exists()


def test_more_than_can_be_paid_at_once_is_refused(alice: Member, stripe: FakeStripe, settings: Any) -> None:
    settings.CREDIT_PRICE = Decimal(1000)
    assert buy(alice, credits=100_000).body["fields"] == {
        "credits": ["costs more than one payment allows; buy fewer credits"]
    }


def test_without_a_key_nothing_is_sold(alice: Member) -> None:
    reply = buy(alice)

    assert (reply.status, reply.code) == (503, "NOT_CONFIGURED")
    assert "STRIPE_SECRET_KEY" in reply.body["error"]
    assert not Checkout.objects.exists()


def test_another_workspaces_checkout_is_not_shown(alice: Member, bob: Member, stripe: FakeStripe) -> None:
    checkout_id = buy(alice).body["id"]

    assert bob.get(f"{BUY}/{checkout_id}").status == 404
    assert bob.get(f"{BUY}/x").code == "INVALID_ID"


@pytest.mark.parametrize("mood", ["error", "rate", "drop", "garbled"])
def test_a_stripe_that_fails_is_a_502_and_the_row_says_so(
    alice: Member, stripe: FakeStripe, mood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripe_api, "_RETRIES", 0)
    stripe.mood = mood
    reply = buy(alice)

    assert (reply.status, reply.code) == (502, "UPSTREAM_UNAVAILABLE")
    row = Checkout.objects.get()
    assert (row.status, row.problem) == ("failed", reply.body["error"])
    stripe.mood = ""
    assert buy(alice).status == 201


def test_a_wrong_key_is_a_502_too(alice: Member, stripe: FakeStripe, settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = "sk_test_wrong"
    assert buy(alice).code == "UPSTREAM_UNAVAILABLE"


def test_a_refused_connection_to_stripe_is_a_502(alice: Member, stripe: FakeStripe, settings: Any) -> None:
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"
    assert buy(alice).code == "UPSTREAM_UNAVAILABLE"


def test_an_amount_that_stripe_does_not_take_is_the_callers_fault(alice: Member, stripe: FakeStripe) -> None:
    stripe.mood = "small"

    reply = buy(alice, credits=1)

    assert reply.status == 400
    assert "at least $0.50" in reply.body["fields"]["credits"][0]
    assert Checkout.objects.get().status == "failed"


def test_a_lost_answer_is_asked_for_again_with_the_same_key(
    alice: Member, stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripe_api, "_RETRIES", 0)
    checkout = start(alice)
    stripe.mood = "drop"
    with pytest.raises(UpstreamUnavailable):
        checkouts.open_session(checkout, stripe=stripe_api.configured())
    stripe.mood = ""

    checkouts.open_session(checkout, stripe=stripe_api.configured())

    assert list(stripe.sessions) == [Checkout.objects.get().session_id], "there is one session"


def test_with_an_idempotency_key_one_is_made(alice: Member, stripe: FakeStripe) -> None:
    first, second = (alice.post_once(BUY, {"credits": 500}, "k") for _ in range(2))

    assert first.status == 201
    assert second.content == first.content
    assert second.headers["Idempotent-Replay"] == "true"
    assert len(stripe.sessions) == 1


def test_a_key_whose_process_died_gets_the_outcome(
    alice: Member, stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*args: Any, **kwargs: Any) -> Any:
        raise SystemExit

    with monkeypatch.context() as dying, pytest.raises(SystemExit):
        dying.setattr(checkouts, "open_session", die)
        alice.post_once(BUY, {"credits": 500}, "k")
    assert alice.post_once(BUY, {"credits": 500}, "k").code == "IDEMPOTENCY_IN_PROGRESS"

    assert reconciliation.reconcile(find_stripe=stripe_api.configured, now=later(2)) == 1

    reply = alice.post_once(BUY, {"credits": 500}, "k")
    assert (reply.status, reply.body["session_id"]) == (201, next(iter(stripe.sessions)))


def test_a_key_whose_process_died_for_good_gets_that_too(alice: Member, stripe: FakeStripe) -> None:
    checkout = start(alice)
    Checkout.objects.filter(id=checkout.id).update(created_at=later(-24 * 60))

    reconciliation.reconcile(find_stripe=stripe_api.configured)

    assert Checkout.objects.get().status == "failed"
    assert stripe.sessions == {}, "a key that Stripe has forgotten would make another session"


def test_what_stripe_refuses_after_a_crash_fails(alice: Member, stripe: FakeStripe) -> None:
    start(alice)
    stripe.mood = "small"

    reconciliation.reconcile(find_stripe=stripe_api.configured, now=later(2))

    assert Checkout.objects.get().status == "failed"


def test_a_payment_whose_webhook_was_lost_is_found(alice: Member, stripe: FakeStripe) -> None:
    for _ in range(3):
        buy(alice)
    paid, expired, open_ = stripe.sessions
    stripe.pay(paid)
    stripe.expire(expired)

    assert reconciliation.reconcile(find_stripe=stripe_api.configured, now=later(4)) == 0, "webhooks have their time"
    assert reconciliation.reconcile(find_stripe=stripe_api.configured, now=later(6)) == 3
    assert reconciliation.reconcile(find_stripe=stripe_api.configured, now=later(7)) == 0
    assert reconciliation.reconcile(find_stripe=stripe_api.configured, now=later(17)) == 1

    states = {row.session_id: row.status for row in Checkout.objects.all()}
    assert states == {paid: "paid", expired: "expired", open_: "pending"}
    assert alice.credits() == (600, 0)


def test_one_that_stripe_does_not_know_fails_and_the_others_go_on(alice: Member, stripe: FakeStripe) -> None:
    buy(alice)
    stripe.sessions.clear()
    buy(alice)
    stripe.pay(next(iter(stripe.sessions)))

    assert reconciliation.reconcile(find_stripe=stripe_api.configured, now=later(6)) == 2

    assert sorted(row.status for row in Checkout.objects.all()) == ["failed", "paid"]


def test_while_stripe_is_away_nothing_changes(
    alice: Member, stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripe_api, "_RETRIES", 0)
    buy(alice)
    stripe.mood = "error"

    with pytest.raises(UpstreamUnavailable):
        reconciliation.reconcile(find_stripe=stripe_api.configured, now=later(6))

    assert Checkout.objects.get().status == "pending"


def test_the_ticks_run(alice: Member, stripe: FakeStripe, settings: Any) -> None:
    buy(alice)
    stripe.pay(next(iter(stripe.sessions)))
    Checkout.objects.update(created_at=later(-10))

    reconcile_checkouts()
    assert alice.credits() == (600, 0)
    settings.STRIPE_SECRET_KEY = ""
    reconcile_checkouts()

    for status in ("expired", "failed", "pending"):
        buy_row = start(alice)
        Checkout.objects.filter(id=buy_row.id).update(status=status)
    Checkout.objects.update(created_at=later(-91 * 24 * 60))
    purge_unpaid_checkouts()
    assert sorted(row.status for row in Checkout.objects.all()) == ["paid", "pending"]


def test_no_transaction_is_open_while_stripe_is_asked(
    alice: Member, stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    depths = []
    ask = stripe_api.StripeApi._ask

    def watched(self: Any, call: Any) -> Any:
        depths.append(len(connection.savepoint_ids))
        return ask(self, call)

    monkeypatch.setattr(stripe_api.StripeApi, "_ask", watched)
    outside = len(connection.savepoint_ids)
    buy(alice)
    assert depths == [outside]


def test_a_checkout_waits_on_the_threads_for_waiting() -> None:
    assert "POST" in CheckoutsView.waiting_methods


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [(1000, "usd", "10.00 USD"), (5, "eur", "0.05 EUR"), (500, "jpy", "500 JPY"), (1500, "kwd", "1.500 KWD")],
)
def test_money_is_shown_as_people_write_it(amount: int, currency: str, text: str) -> None:
    assert offers.format_amount(amount, currency) == text


@pytest.mark.parametrize(("price", "amount"), [("1", 7), ("0.5", 4), ("0.0001", 1), ("2.25", 16)])
def test_prices_round_up(price: str, amount: int) -> None:
    assert offers.offer_for(7, price=offers.parse_price(price)) == Offer(7, amount)


@pytest.mark.parametrize(
    ("read", "text", "complaint"),
    [
        (environment.credit_price, "0", "CREDIT_PRICE must be a positive number"),
        (environment.credit_price, "1e3", "CREDIT_PRICE"),
        (environment.credit_currency, "dollars", "CREDIT_CURRENCY must be an ISO code"),
        (environment.credit_packs, "[]", "CREDIT_PACKS must be JSON: must be a JSON object"),
        (environment.credit_packs, "{", "CREDIT_PACKS must be JSON"),
        (environment.credit_packs, '{"A b": {"credits": 1, "amount": 1}}', "not a valid name"),
        (environment.credit_packs, '{"a": {"credits": 1}}', "must have credits and amount"),
        (environment.credit_packs, '{"a": {"credits": 0, "amount": 1}}', "whole number from 1"),
        (environment.credit_packs, '{"a": {"credits": true, "amount": 1}}', "whole number from 1"),
    ],
)
def test_invalid_settings_are_named(read: Any, text: str, complaint: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=complaint):
        read(text)


def test_valid_settings_are_read() -> None:
    assert environment.credit_currency("EUR") == "eur"
    assert environment.credit_packs('{"a": {"credits": 10, "amount": 9}}') == {"a": Offer(10, 9)}
