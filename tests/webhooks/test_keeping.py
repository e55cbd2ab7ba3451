"""What beat does: old events are forgotten, and owners hear of webhooks that were disabled."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.core import mail
from django.utils import timezone

from apps.accounts.models import Membership, User
from apps.webhooks import selectors
from apps.webhooks.models import Attempt, Delivery, Endpoint, OutboxEvent
from apps.webhooks.services import owner_notices, retention
from apps.webhooks.services.endpoints import delete
from tasks import webhooks
from tests.cast import Member, call
from tests.fakes.runner import FakeRunner
from tests.webhooks.making import delivery, happen, listen

pytestmark = pytest.mark.django_db

URL = "https://shop.example/hook/with-a-password-in-it"


def age(days: int) -> None:
    """Everything there is grows older."""
    OutboxEvent.objects.update(created_at=timezone.now() - timedelta(days=days))
    Endpoint.objects.filter(status="deleted").update(disabled_at=timezone.now() - timedelta(days=days))


def attempted(endpoint: Endpoint) -> None:
    Attempt.objects.create(
        delivery=delivery(endpoint), endpoint=endpoint, number=1, duration_ms=1, ended_at=timezone.now()
    )


def test_events_and_their_log_are_forgotten_after_a_month(alice: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_BATCH", 2)
    endpoint, gone = listen(alice, URL), listen(alice, URL)
    happen(alice)
    attempted(endpoint)
    happen(alice, count=4)
    delete(workspace_id=alice.workspace.id, endpoint_id=gone.id)
    age(31)
    (recent,) = happen(alice)

    webhooks.purge()

    assert [event.id for event in OutboxEvent.objects.all()] == [recent]
    assert (Delivery.objects.count(), Attempt.objects.count()) == (1, 0)
    assert list(Endpoint.objects.all()) == [endpoint]
    assert retention.purge() == 0


def test_the_operator_says_for_how_long(alice: Member, settings: LazySettings) -> None:
    settings.WEBHOOK_LOG_DAYS = 90
    happen(alice)
    age(89)

    assert retention.purge() == 0
    age(91)
    assert retention.purge() == 1


@pytest.fixture
def owned(alice: Member) -> Member:
    """A workspace with two owners and a member."""
    for name, role in (("olga", "owner"), ("oscar", "owner"), ("mia", "member")):
        user = User.objects.create_user(f"{name}@example.com", "a long password")
        Membership.objects.create(workspace=alice.workspace, user=user, role=role)
    return alice


def disabled(member: Member, reason: str) -> Endpoint:
    endpoint = listen(member, URL)
    Endpoint.objects.filter(id=endpoint.id).update(
        status="disabled", disabled_reason=reason, disabled_at=timezone.now()
    )
    return endpoint


@pytest.mark.parametrize(("reason", "said"), [("gone", "410"), ("failing", "five days")])
def test_owners_are_told_once_what_was_disabled_and_why(owned: Member, reason: str, said: str) -> None:
    owned.workspace.name = "Shop\nBcc: others@example.com"
    owned.workspace.save()
    endpoint = disabled(owned, reason)

    for _ in range(2):
        webhooks.tell_owners()

    (letter,) = mail.outbox
    assert sorted(letter.to) == ["olga@example.com", "oscar@example.com"]
    assert said in letter.body and str(endpoint.id) in letter.body
    assert "password" not in letter.body
    assert "\n" not in letter.subject


def test_who_disables_it_themselves_is_not_told(owned: Member) -> None:
    from apps.webhooks.services.endpoints import change

    endpoint = listen(owned, URL)
    change(workspace_id=owned.workspace.id, endpoint_id=endpoint.id, status="disabled")

    assert owner_notices.notify() == 0
    assert mail.outbox == []


def test_a_mail_server_that_is_away_is_asked_again(
    owned: Member, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disabled(owned, "gone")

    def away(*args: object, **kwargs: object) -> int:
        raise ConnectionRefusedError

    with monkeypatch.context() as broken:
        broken.setattr(owner_notices, "send_mail", away)
        assert owner_notices.notify() == 0
    assert "mail can't be sent" in caplog.text
    assert owner_notices.notify() == 1
    assert len(mail.outbox) == 1


def test_a_workspace_without_owners_is_no_obstacle(alice: Member) -> None:
    disabled(alice, "gone")

    assert owner_notices.notify() == 1
    assert mail.outbox == []


def test_figures_for_gauges(alice: Member, runner: FakeRunner) -> None:
    assert selectors.oldest_due_seconds() == 0
    endpoint = listen(alice, URL)
    happen(alice, count=3)
    first = Delivery.objects.filter(endpoint=endpoint).first()
    assert first is not None
    Delivery.objects.filter(id=first.id).update(status="failed", due_at=None)

    assert selectors.pending_count() == 2
    assert b"browsa_webhook_deliveries_pending 2.0" in call("GET", "/metrics").content
    due = min(Delivery.objects.filter(status="pending").values_list("due_at", flat=True))
    assert due is not None
    assert selectors.oldest_due_seconds(now=due + timedelta(seconds=30)) == 30


def test_attempts_are_counted_by_their_outcome(alice: Member) -> None:
    endpoint = listen(alice, URL)
    happen(alice, count=3)
    now = timezone.now()
    for number, (row, status) in enumerate(zip(Delivery.objects.all(), (204, 500, None), strict=True)):
        values = {"number": 1, "status_code": status, "duration_ms": 1, "ended_at": now - timedelta(minutes=number)}
        Attempt.objects.create(delivery=row, endpoint=endpoint, **values)

    counted = selectors.attempts_by_outcome(since=now - timedelta(seconds=90), until=now + timedelta(seconds=1))

    assert counted == {("delivered",): 1, ("failed",): 1}
    assert selectors.attempts_by_outcome(since=now, until=now) == {("delivered",): 0, ("failed",): 0}
