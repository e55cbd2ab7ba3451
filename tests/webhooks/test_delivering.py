"""From an event to its receivers, through the deliverer that workers run."""

from __future__ import annotations

import json

import pytest

from apps.webhooks.models import Attempt, Delivery
from tests.cast import Member
from tests.fakes.receivers import Receivers
from tests.webhooks.making import delivery, happen, listen, until

pytestmark = pytest.mark.usefixtures("deliverer")


def test_an_event_is_delivered_and_the_log_says_so(carol: Member, receivers: Receivers) -> None:
    shop = receivers.answering(200)
    endpoint = listen(carol, shop.url())

    (event_id,) = happen(carol, agent_id="agt_1")

    (got,) = shop.wait_for(1)
    assert json.loads(got.body)["id"] == event_id == got.headers["webhook-id"]
    until(lambda: delivery(endpoint).status == Delivery.Status.DELIVERED)
    (attempt,) = Attempt.objects.all()
    assert (attempt.number, attempt.status_code, attempt.error) == (1, 200, "")
