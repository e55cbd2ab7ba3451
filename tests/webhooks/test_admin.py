"""Operators see how webhooks fare, without secrets, and may send again."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from apps.accounts.models import User
from apps.webhooks.models import Delivery, Endpoint
from tests.cast import Member
from tests.webhooks.making import delivery, happen, listen

pytestmark = pytest.mark.django_db

DELIVERIES = "/admin/webhooks/delivery/"


def logged_in(*permissions: str, boss: bool = False) -> Client:
    make = User.objects.create_superuser if boss else User.objects.create_user
    user = make("ops@example.com", "a long password", is_staff=True)
    for codename in permissions:
        user.user_permissions.add(Permission.objects.get(codename=codename))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def endpoint(alice: Member) -> Endpoint:
    endpoint = listen(alice, "https://shop.example/hook/a-password")
    happen(alice, cdp_url="ws://a-capability")
    Delivery.objects.update(status="failed", due_at=None, attempts=10)
    return endpoint


def test_no_page_shows_a_secret_or_a_whole_url(endpoint: Endpoint) -> None:
    client = logged_in(boss=True)
    sent = delivery(endpoint)
    for page in (
        "endpoint/",
        f"endpoint/{endpoint.id}/change/",
        "delivery/",
        f"delivery/{sent.id}/change/",
        f"outboxevent/{sent.event_id.replace('_', '_5F')}/change/",
    ):
        reply = client.get(f"/admin/webhooks/{page}")
        text = reply.content.decode()
        assert reply.status_code == 200, page
        assert "a-password" not in text and "a-capability" not in text
    assert "https://shop.example" in client.get("/admin/webhooks/endpoint/").content.decode()
    assert client.get("/admin/webhooks/signingsecret/").status_code == 404


def send_again(client: Client, endpoint: Endpoint) -> str:
    form = {"action": "redeliver", "_selected_action": [str(delivery(endpoint).id)]}
    return client.post(DELIVERIES, form, follow=True).content.decode()


def test_an_operator_may_send_again(endpoint: Endpoint) -> None:
    client = logged_in(boss=True)

    assert "will be sent again" in send_again(client, endpoint)
    assert delivery(endpoint).status == "pending"

    Endpoint.objects.update(status="disabled")
    assert "The webhook is disabled" in send_again(client, endpoint)


def test_who_may_only_look_may_not(endpoint: Endpoint) -> None:
    send_again(logged_in("view_delivery"), endpoint)

    assert delivery(endpoint).status == "failed"
