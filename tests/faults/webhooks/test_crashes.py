"""Whatever dies, nothing is lost: at most an event comes twice, with the same id."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
import redis
from django.conf import LazySettings, settings
from django.db import connection
from django.utils import timezone

from apps.webhooks.deliverer import Deliverer
from apps.webhooks.models import Delivery
from apps.webhooks.services import delivery_claims
from stack.child import ROOT
from tests.cast import Member
from tests.fakes import receivers as tempers
from tests.fakes.receivers import Receiver, Receivers
from tests.patience import PATIENCE
from tests.webhooks.making import delivery, happen, listen, until


@contextmanager
def another_process() -> Iterator[subprocess.Popen[str]]:
    """A deliverer that can be killed."""
    database = {
        name: connection.settings_dict[name] for name in ("NAME", "HOST", "PORT", "USER", "PASSWORD", "OPTIONS")
    }
    environment = {
        **os.environ,
        "DATABASE_URL": "postgresql://none@localhost/nothing",
        "REDIS_URL": settings.REDIS_URL,
        "BROWSA_HOME": str(settings.BROWSA_HOME),
        "BROWSA_SECRET_KEY": settings.SECRET_KEY,
        "DJANGO_SETTINGS_MODULE": "browsa.settings",
    }
    command = [sys.executable, "-m", "tests.faults.webhooks.dying"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, cwd=ROOT, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps({"database": database}))
        process.stdin.close()
        try:
            yield process
        finally:
            process.kill()


def ids(receiver: Receiver) -> list[str]:
    return [got.headers["webhook-id"] for got in receiver.got]


def let_leases_run_out() -> None:
    Delivery.objects.exclude(claim=None).update(due_at=timezone.now() - timedelta(seconds=1))


def all_delivered() -> bool:
    return not Delivery.objects.exclude(status="delivered").exists()


def test_a_worker_killed_between_sending_and_recording_repeats_with_the_same_id(
    carol: Member, receivers: Receivers, loopback: None
) -> None:
    shop = receivers.new(tempers.hang)
    endpoint = listen(carol, shop.url())
    (event_id,) = happen(carol)
    with another_process() as worker:
        shop.wait_for(1)
        worker.kill()
        worker.wait()
    cut_off = delivery(endpoint)
    assert (cut_off.status, cut_off.attempts) == ("pending", 0)
    assert cut_off.claim is not None
    assert cut_off.due_at is not None and cut_off.due_at > timezone.now(), "the dead one's lease still holds"

    shop.temper = tempers.status(200)
    let_leases_run_out()
    survivor = Deliverer()
    survivor.start()
    until(all_delivered)
    survivor.stop(grace=PATIENCE)

    assert ids(shop) == [event_id, event_id]
    assert len({got.body for got in shop.got}) == 1


def test_one_that_comes_back_after_its_lease_changes_nothing(carol: Member, loopback: None) -> None:
    endpoint = listen(carol, "http://127.0.0.1:9/")
    happen(carol)
    (late,) = delivery_claims.claim({endpoint.id: 5})
    let_leases_run_out()
    (current,) = delivery_claims.claim({endpoint.id: 5})

    def outcome(claimed: delivery_claims.ClaimedDelivery, delivered: bool) -> delivery_claims.AttemptOutcome:
        return delivery_claims.AttemptOutcome(claimed, delivered, 200 if delivered else 500, "", 1, timezone.now())

    delivery_claims.record([outcome(late, delivered=False)])
    assert (delivery(endpoint).status, delivery(endpoint).attempts) == ("pending", 0)
    for _ in range(2):
        delivery_claims.record([outcome(current, delivered=True)])
    assert (delivery(endpoint).status, delivery(endpoint).attempts) == ("delivered", 1)
    delivery_claims.release([late, current])
    assert delivery(endpoint).status == "delivered"


def test_a_database_that_goes_away_again_and_again_loses_nothing(
    carol: Member, receivers: Receivers, loopback: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_claims, "CLAIM_TIME", timedelta(seconds=3))
    shops = [receivers.new(tempers.slowly(0.005, tempers.status(200))) for _ in range(3)]
    for shop in shops:
        listen(carol, shop.url())
    events = set(happen(carol, count=200))
    deliverer = Deliverer()
    deliverer.start()
    for number in range(1, 4):
        shops[0].wait_for(40 * number)
        cut_connections()

    until(all_delivered)
    deliverer.stop(grace=PATIENCE)

    for shop in shops:
        assert set(ids(shop)) == events


def cut_connections() -> None:
    """As a restart of the database does: all connections end, and for a short time new ones fail."""
    with connection.cursor() as cursor:
        host, connection.settings_dict["HOST"] = connection.settings_dict["HOST"], "/nonexistent"
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        # No connection may return in the meantime.
        cursor.execute("SELECT pg_sleep(0.2)")
    connection.settings_dict["HOST"] = host


def test_a_deliverer_that_fails_starts_again(
    carol: Member,
    receivers: Receivers,
    loopback: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = receivers.answering(200)
    listen(carol, shop.url())
    happen(carol)
    with monkeypatch.context() as broken:
        broken.setattr(delivery_claims, "claim", lambda limits: 1 / 0)
        deliverer = Deliverer()
        deliverer.start()
        until(lambda: "the deliverer failed and restarts" in caplog.text)

    until(all_delivered)
    deliverer.stop(grace=PATIENCE)
    assert len(shop.got) == 1


def test_hints_that_are_lost_cost_a_second(carol: Member, receivers: Receivers, deliverer: None) -> None:
    shop = receivers.answering(200)
    listen(carol, shop.url())
    hints = redis.Redis.from_url(settings.REDIS_URL)
    try:
        for _ in range(3):
            hints.flushall()
            hints.client_kill_filter(_type="pubsub", skipme=True)
            happen(carol, count=20)
    finally:
        hints.close()

    until(all_delivered)
    assert len(set(ids(shop))) == 60


def test_without_redis_everything_is_delivered(
    carol: Member, receivers: Receivers, loopback: None, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REDIS_URL = "unix:///nonexistent/redis.sock"
    deliverer = Deliverer()
    deliverer.start()
    shop = receivers.answering(200)
    endpoint = listen(carol, shop.url())
    happen(carol, count=20)

    until(all_delivered)
    deliverer.stop(grace=PATIENCE)

    assert len(set(ids(shop))) == Delivery.objects.filter(endpoint=endpoint).count() == 20


def test_a_rolled_back_event_is_not_delivered(carol: Member, receivers: Receivers, deliverer: None) -> None:
    from django.db import transaction

    shop = receivers.answering(200)
    listen(carol, shop.url())
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        happen(carol)
        raise ZeroDivisionError
    (event_id,) = happen(carol)

    shop.wait_for(1)
    until(all_delivered)
    assert ids(shop) == [event_id]
