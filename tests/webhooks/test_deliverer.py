"""From an event to its receivers, through the deliverer that workers run."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis
from django.conf import settings
from django.utils import timezone

from apps.core import hints
from apps.webhooks import schedule, selectors
from apps.webhooks.deliverer import Deliverer
from apps.webhooks.lanes import HEALTHY_LIMIT, UNPROVEN_LIMIT
from apps.webhooks.models import Attempt, Delivery, Endpoint, SigningSecret
from apps.webhooks.services import endpoints
from tests.cast import Member, join
from tests.fakes import receivers as tempers
from tests.fakes.receivers import Receivers
from tests.patience import PATIENCE
from tests.webhooks.making import delivery, happen, listen, until

pytestmark = pytest.mark.usefixtures("deliverer")

LONGER = 100


@pytest.fixture(autouse=True)
def _no_retry_comes_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one is due after five seconds, for which any test may be held up: `hasten` is when it comes."""
    monkeypatch.setattr(schedule, "DELAYS", tuple(LONGER * seconds for seconds in schedule.DELAYS))


def log_of(endpoint: Endpoint, count: int = 1) -> list[tuple[int, int | None, str]]:
    """Its attempts, once there are so many: number, status, error."""
    rows = Attempt.objects.filter(endpoint=endpoint).order_by("id")
    until(lambda: rows.count() >= count)
    return [(row.number, row.status_code, row.error) for row in rows]


def wait_of(endpoint: Endpoint) -> float:
    """Seconds from its last attempt to its next."""
    due_at, last = delivery(endpoint).due_at, Attempt.objects.filter(endpoint=endpoint).latest("id")
    assert due_at is not None
    return (due_at - last.ended_at).total_seconds()


def hasten(endpoint: Endpoint) -> None:
    """Time passes until its next attempt is due."""
    Delivery.objects.filter(endpoint=endpoint, claim=None, status="pending").update(due_at=timezone.now())


def test_an_event_is_delivered_and_the_log_says_so(carol: Member, receivers: Receivers) -> None:
    shop = receivers.answering(200)
    endpoint = listen(carol, shop.url())

    (event_id,) = happen(carol, agent_id="agt_1")

    (got,) = shop.wait_for(1)
    assert json.loads(got.body)["id"] == event_id == got.headers["webhook-id"]
    assert log_of(endpoint) == [(1, 200, "")]
    done = delivery(endpoint)
    assert (done.status, done.attempts, done.due_at, done.claim) == ("delivered", 1, None, None)
    (entry,) = carol.get(f"/v1/webhooks/{endpoint.id}/deliveries").body["deliveries"]
    assert (entry["status"], entry["status_code"], entry["next_attempt_at"]) == ("delivered", 200, None)
    assert entry["duration_ms"] >= 0


def test_it_does_not_wait_for_the_next_look(
    carol: Member, receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = hints._Publisher()
    publisher._redis = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=PATIENCE)
    monkeypatch.setattr(hints, "_publisher", lambda: publisher)
    looked = threading.Event()

    def find_nothing() -> list[object]:
        looked.set()
        return []

    monkeypatch.setattr(selectors, "due", find_nothing)
    assert looked.wait(PATIENCE)
    shop = receivers.answering(204)
    listen(carol, shop.url())
    until(lambda: happen(carol) and shop.got)  # until it hears

    for _ in range(6):
        (event_id,) = happen(carol)
        until(lambda event_id=event_id: event_id in [got.headers["webhook-id"] for got in shop.got])
    publisher._redis.close()


FAILURES: list[tuple[tempers.Temper, int | None, str]] = [
    (tempers.status(500), 500, "answered 500"),
    (tempers.status(404), 404, "answered 404"),
    (tempers.status(429), 429, "answered 429"),
    (tempers.status(302, Location="/elsewhere"), 302, "answered 302: redirects are not followed"),
    (tempers.status(308), 308, "answered 308: redirects are not followed"),
    (tempers.saying(b"", then_hang_up=True), None, "it did not answer with valid HTTP"),
]


def assert_failed(endpoint: Endpoint, status: int | None, error: str) -> None:
    """Once, and it is tried again."""
    ((number, code, said),) = log_of(endpoint)
    assert (number, code) == (1, status)
    assert said.startswith(error)
    pending = delivery(endpoint)
    assert (pending.status, pending.attempts) == ("pending", 1)
    assert 4 * LONGER <= wait_of(endpoint) <= 6 * LONGER


def test_everything_but_2xx_is_a_failure_that_is_tried_again(carol: Member, receivers: Receivers) -> None:
    shops = [receivers.new(temper) for temper, _, _ in FAILURES]
    hooks = [listen(carol, shop.url()) for shop in shops]
    happen(carol)

    for endpoint, (_, status, error) in zip(hooks, FAILURES, strict=True):
        assert_failed(endpoint, status, error)
    for shop, endpoint in zip(shops, hooks, strict=True):
        shop.temper = tempers.status(200)
        hasten(endpoint)
    for endpoint in hooks:
        assert log_of(endpoint, 2)[1] == (2, 200, "")


@pytest.mark.parametrize("attempt_seconds", [2])
def test_so_is_no_answer_in_time(carol: Member, receivers: Receivers) -> None:
    shop = receivers.new(tempers.hang)
    endpoint = listen(carol, shop.url())
    happen(carol)
    assert_failed(endpoint, None, "no answer within 2 s")

    shop.temper = tempers.status(200)

    def delivered() -> bool:
        hasten(endpoint)  # again and again: two seconds may be too few
        return delivery(endpoint).status == "delivered"

    until(delivered)


def test_every_attempt_has_the_same_bytes_and_id(carol: Member, receivers: Receivers) -> None:
    shop = receivers.new(tempers.in_turn(*[tempers.status(500)] * 3, tempers.status(200)))
    endpoint = listen(carol, shop.url())
    (event_id,) = happen(carol, text="ü", number=1.50)
    for number in range(1, 4):
        log_of(endpoint, number)
        hasten(endpoint)

    attempts = shop.wait_for(4)

    assert {(got.headers["webhook-id"], got.body) for got in attempts} == {(event_id, attempts[0].body)}


def test_retry_after_is_honoured_within_the_schedule(carol: Member, receivers: Receivers) -> None:
    shop = receivers.answering(503, Retry_After="3600")
    endpoint = listen(carol, shop.url())
    happen(carol)
    log_of(endpoint)

    assert wait_of(endpoint) == 3600


def test_the_tenth_failure_is_the_last(carol: Member, receivers: Receivers) -> None:
    shop = receivers.answering(500)
    endpoint = listen(carol, shop.url())
    happen(carol)
    log_of(endpoint)
    Delivery.objects.update(attempts=9)
    hasten(endpoint)

    assert log_of(endpoint, 2)[1][0] == 10
    failed = delivery(endpoint)
    assert (failed.status, failed.due_at) == ("failed", None)


def test_a_redelivery_starts_the_schedule_again(carol: Member, receivers: Receivers) -> None:
    shop = receivers.answering(500)
    endpoint = listen(carol, shop.url())
    happen(carol)
    log_of(endpoint)
    Delivery.objects.update(attempts=10, status="failed", due_at=None)

    endpoints.redeliver(workspace_id=carol.workspace.id, endpoint_id=endpoint.id, delivery_id=delivery(endpoint).id)

    assert log_of(endpoint, 2)[1] == (11, 500, "answered 500")
    assert delivery(endpoint).status == "pending"
    assert 4 * LONGER <= wait_of(endpoint) <= 6 * LONGER


def test_410_disables_it_and_the_rest_stays_where_it_is(carol: Member, receivers: Receivers) -> None:
    gone = receivers.answering(410)
    endpoint = listen(carol, gone.url())
    happen(carol)

    assert log_of(endpoint) == [(1, 410, "answered 410: the webhook was disabled")]
    endpoint.refresh_from_db()
    assert (endpoint.status, endpoint.disabled_reason) == ("disabled", "gone")
    assert delivery(endpoint).status == "failed"
    shown = carol.get(f"/v1/webhooks/{endpoint.id}").body
    assert (shown["status"], shown["disabled_reason"]) == ("disabled", "gone")


def test_five_days_of_failures_disable_it_and_a_success_in_between_does_not(
    carol: Member, receivers: Receivers
) -> None:
    shop = receivers.answering(500)
    endpoint = listen(carol, shop.url())
    happen(carol)
    log_of(endpoint)
    endpoint.refresh_from_db()
    assert endpoint.failing_since is not None
    now = timezone.now()

    shop.temper = tempers.status(200)
    Endpoint.objects.update(failing_since=now - timedelta(days=6), last_failure_at=now - timedelta(hours=20))
    hasten(endpoint)
    log_of(endpoint, 2)
    endpoint.refresh_from_db()
    assert (endpoint.status, endpoint.failing_since) == ("active", None)

    shop.temper = tempers.status(500)
    Endpoint.objects.update(failing_since=now - timedelta(days=5), last_failure_at=now - timedelta(hours=20))
    happen(carol)
    log_of(endpoint, 3)
    endpoint.refresh_from_db()
    assert (endpoint.status, endpoint.disabled_reason, endpoint.notified_at) == ("disabled", "failing", None)


def test_what_was_pending_stops_with_its_endpoint_and_goes_on_with_it(carol: Member, receivers: Receivers) -> None:
    shop, other = receivers.answering(500), receivers.answering(200)
    endpoint = listen(carol, shop.url())
    listen(carol, other.url())
    happen(carol)
    log_of(endpoint)

    for change in ({"status": "disabled"}, {"status": "deleted"}):
        Endpoint.objects.filter(id=endpoint.id).update(**change)
        hasten(endpoint)
        seen = len(other.got)
        happen(carol)
        other.wait_for(seen + 1)
    assert len(shop.got) == 1

    Endpoint.objects.filter(id=endpoint.id).update(status="disabled")
    endpoints.change(workspace_id=carol.workspace.id, endpoint_id=endpoint.id, status="active")
    shop.wait_for(2)


def test_a_url_that_is_no_longer_allowed_is_not_dialled(carol: Member, receivers: Receivers) -> None:
    shop = receivers.answering(200)
    endpoint = listen(carol, shop.url().replace("127.0.0.1", "127.0.0.2"))
    happen(carol)

    ((_, status, error),) = log_of(endpoint)
    assert (status, error) == (None, "the URL leads to an address that may not be reached from here")
    assert shop.got == []


def test_a_redirect_to_an_inner_address_leads_nowhere(carol: Member, receivers: Receivers) -> None:
    inside = receivers.answering(200)
    endpoint = listen(carol, receivers.answering(307, Location=inside.url()).url())
    happen(carol)

    assert log_of(endpoint)[0][1] == 307
    assert inside.got == []


def test_an_unreadable_secret_is_logged_and_delays_no_other_delivery(carol: Member, receivers: Receivers) -> None:
    shop, other = receivers.answering(200), receivers.answering(200)
    endpoint = listen(carol, shop.url())
    dave = join("dave")
    listen(dave, other.url())
    SigningSecret.objects.filter(workspace=carol.workspace).update(sealed=b"v9:x")
    happen(carol)
    happen(dave)

    other.wait_for(1)
    ((_, status, error),) = log_of(endpoint)
    assert status is None
    assert error.startswith("not sent: the webhook signing secret of ")
    assert error.endswith("was sealed with a master key that is not configured")
    assert shop.got == []


def test_a_receiver_of_two_webhooks_gets_every_event_twice(carol: Member, receivers: Receivers) -> None:
    shop = receivers.answering(200)
    for _ in range(2):
        listen(carol, shop.url())
    (event_id,) = happen(carol)

    assert [got.headers["webhook-id"] for got in shop.wait_for(2)] == [event_id] * 2


def test_no_endpoint_is_sent_more_at_once_than_it_may(carol: Member, receivers: Receivers) -> None:
    slow = tempers.slowly(0.02, tempers.status(200))
    strange, known = tempers.Holding(slow), tempers.Holding(slow)
    shop = receivers.new(strange)
    listen(carol, shop.url())
    happen(carol, count=100)

    for holding, most in ((strange, UNPROVEN_LIMIT), (known, HEALTHY_LIMIT)):
        until(lambda holding=holding, most=most: holding.held == most)
        assert shop.most_at_once == most
        shop.temper = known
        holding.let_go()
    shop.wait_for(100)
    assert shop.most_at_once == HEALTHY_LIMIT


@pytest.fixture
def second(deliverer: None) -> Iterator[None]:
    running = Deliverer(seconds=PATIENCE)
    running.start()
    yield
    running.stop(grace=PATIENCE)


def test_two_deliverers_never_send_the_same_delivery(carol: Member, receivers: Receivers, second: None) -> None:
    shops = [receivers.new(tempers.slowly(0.001, tempers.status(200))) for _ in range(3)]
    for shop in shops:
        listen(carol, shop.url())
    events = set(happen(carol, count=300))

    for shop in shops:
        shop.wait_for(300)
    until(lambda: not Delivery.objects.filter(status="pending").exists())
    for shop in shops:
        ids = [got.headers["webhook-id"] for got in shop.got]
        assert (len(ids), set(ids)) == (300, events)
    assert Attempt.objects.count() == 900
