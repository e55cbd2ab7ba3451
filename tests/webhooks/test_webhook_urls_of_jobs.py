"""The `webhook_url` of a job: one event, signed and repeated as a webhook's, and not among the webhooks."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.webhooks import schedule
from apps.webhooks.models import Delivery, Endpoint
from apps.webhooks.services import endpoints, retention, secrets
from tests.cast import Member
from tests.fakes import receivers as tempers
from tests.fakes.receivers import Receivers
from tests.webhooks.making import delivery, end_job, happen, listen, listen_for_job, until

JOB, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)


def is_deleted(endpoint: Endpoint) -> bool:
    return Endpoint.objects.get(id=endpoint.id).status == "deleted"


@pytest.mark.django_db
def test_it_gets_the_end_of_its_job_only_beside_the_webhooks(alice: Member, bob: Member) -> None:
    mine, other = (listen_for_job(alice, job, "https://one.test/hook") for job in (JOB, OTHER))
    hook, deaf = listen(alice, "https://all.test/hook"), listen(alice, "https://deaf.test/hook", "agent.failed")
    happen(alice, type="job.input_required")
    happen(bob, type="job.failed")

    event_id = end_job(alice, JOB)

    assert delivery(mine).event_id == event_id
    assert [row.event_id for row in Delivery.objects.filter(endpoint=hook)][-1] == event_id
    assert not Delivery.objects.filter(endpoint__in=[other, deaf]).exists()


@pytest.mark.django_db
def test_it_is_not_among_the_webhooks(alice: Member) -> None:
    one = listen_for_job(alice, JOB, "https://one.test/hook")
    path = f"/v1/webhooks/{one.id}"

    for number in range(endpoints.MAX_ENDPOINTS):  # it takes the place of none
        listen(alice, f"https://{number}.test/hook")

    assert str(one.id) not in [row["id"] for row in alice.get("/v1/webhooks?limit=200").body["webhooks"]]
    answers = [alice.get(path), alice.delete(path), alice.get(f"{path}/deliveries"), alice.post(f"{path}/ping", {})]
    assert [answer.status for answer in answers] == [404] * 4
    assert not is_deleted(one)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("deliverer")
def test_it_is_signed_and_deleted_once_it_is_delivered(carol: Member, receivers: Receivers) -> None:
    shop = receivers.answering(200)
    one = listen_for_job(carol, JOB, shop.url("/done?token=1"))

    event_id = end_job(carol, JOB)

    got = shop.wait_for(1)[0]
    assert json.loads(got.body)["id"] == event_id
    secret = secrets.current_secret(workspace_id=carol.workspace.id)
    assert got.headers["x-agents-signature"] == hmac.new(secret.encode(), got.body, hashlib.sha256).hexdigest()
    until(lambda: is_deleted(one))
    assert delivery(one).status == "delivered"


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("deliverer")
@pytest.mark.parametrize("last", [500, 410, 302])
def test_it_is_tried_again_and_deleted_once_it_is_given_up(
    carol: Member, receivers: Receivers, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    monkeypatch.setattr(schedule, "DELAYS", (0,))
    monkeypatch.setattr(schedule, "MAX_ATTEMPTS", 2)
    broken = receivers.new(tempers.in_turn(tempers.status(503), tempers.status(last)))
    one = listen_for_job(carol, JOB, broken.url())

    end_job(carol, JOB)

    broken.wait_for(2)
    until(lambda: is_deleted(one))
    assert delivery(one).status == "failed"
    assert Endpoint.objects.get(id=one.id).notified_at is not None  # its owners are not mailed


@pytest.mark.django_db
def test_one_whose_event_is_too_old_goes_with_it(alice: Member) -> None:
    ended, waiting = (listen_for_job(alice, job, "https://one.test/hook") for job in (JOB, OTHER))
    end_job(alice, JOB)

    retention.purge(now=timezone.now() + timedelta(days=400))

    assert list(Endpoint.objects.values_list("id", "status")) == [(waiting.id, "active")]
    assert not Endpoint.objects.filter(id=ended.id).exists()
