"""A deliverer that stops finishes what flies and gives back everything else at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError

from apps.webhooks.deliverer import Deliverer
from apps.webhooks.lanes import HEALTHY_LIMIT
from apps.webhooks.models import Delivery
from apps.webhooks.services import delivery_claims
from tests.cast import Member
from tests.fakes import receivers as tempers
from tests.fakes.receivers import Receiver, Receivers
from tests.patience import PATIENCE
from tests.webhooks.making import happen, listen, until

pytestmark = pytest.mark.usefixtures("loopback")

EVENTS = 60


@pytest.fixture
def temper() -> tempers.Holding:
    return tempers.Holding(tempers.status(200), passing=1)


@pytest.fixture(autouse=True)
def shop(carol: Member, receivers: Receivers, temper: tempers.Holding) -> Receiver:
    """Has events coming, of which all but the first are held."""
    receiver = receivers.new(temper)
    listen(carol, receiver.url())
    happen(carol, count=EVENTS)
    return receiver


@contextmanager
def stopping(deliverer: Deliverer) -> Iterator[threading.Thread]:
    """It has been told to stop when the block begins, and has stopped after it."""
    thread = threading.Thread(target=deliverer.stop, kwargs={"grace": PATIENCE})
    thread.start()
    until(lambda: deliverer._stopping)
    yield thread
    thread.join()
    assert not deliverer._thread.is_alive()


def claimed() -> int:
    return Delivery.objects.exclude(claim=None).count()


def begun_once(work: Callable[..., Any], begun: threading.Event, go_on: threading.Event) -> Callable[..., Any]:
    """`work`, which waits with its second result until it may go on."""
    calls = 0

    def slowly(*arguments: Any) -> Any:
        nonlocal calls
        result = work(*arguments)
        calls += bool(result)
        if calls == 2:
            begun.set()
            assert go_on.wait(PATIENCE)
        return result

    return slowly


def test_deliveries_that_have_not_begun_are_given_back(shop: Receiver, temper: tempers.Holding) -> None:
    deliverer = Deliverer(seconds=PATIENCE)
    deliverer.start()
    until(lambda: temper.held == HEALTHY_LIMIT and claimed() > HEALTHY_LIMIT)

    with stopping(deliverer):
        until(lambda: claimed() == HEALTHY_LIMIT)
        temper.let_go()

    assert claimed() == 0
    assert Delivery.objects.filter(status="delivered").count() == 1 + HEALTHY_LIMIT
    another = Deliverer(seconds=PATIENCE)
    another.start()
    until(lambda: not Delivery.objects.filter(status="pending").exists())
    another.stop(grace=PATIENCE)
    ids = [got.headers["webhook-id"] for got in shop.got]
    assert len(set(ids)) == len(ids) == EVENTS, "nothing was cut off, nothing sent twice"


def test_a_claim_that_is_on_its_way_is_given_back(temper: tempers.Holding, monkeypatch: pytest.MonkeyPatch) -> None:
    claiming, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(delivery_claims, "claim", begun_once(delivery_claims.claim, claiming, go_on))
    deliverer = Deliverer(seconds=PATIENCE)
    deliverer.start()
    assert claiming.wait(PATIENCE)

    with stopping(deliverer) as thread:
        temper.let_go()
        until(lambda: not deliverer._lanes.claimed_count and not deliverer._outcomes)
        thread.join(0.2)
        assert thread.is_alive(), "it ended with a claim on its way"
        go_on.set()

    assert claimed() == 0


def test_what_could_not_be_given_back_is_tried_again(temper: tempers.Holding, monkeypatch: pytest.MonkeyPatch) -> None:
    release, tried = delivery_claims.release, threading.Event()

    def fail_once(deliveries: list[delivery_claims.ClaimedDelivery]) -> None:
        if not tried.is_set():
            tried.set()
            raise OperationalError("the database restarts")
        release(deliveries)

    monkeypatch.setattr(delivery_claims, "release", fail_once)
    deliverer = Deliverer(seconds=PATIENCE)
    deliverer.start()
    until(lambda: temper.held and claimed() > HEALTHY_LIMIT)

    with stopping(deliverer):
        assert tried.wait(PATIENCE)
        temper.let_go()

    assert claimed() == 0
