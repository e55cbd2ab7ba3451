"""`/v1/webhooks/signing-secret`: one for each workspace, sealed, rotated."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from standardwebhooks import Webhook

from apps.core.models import IdempotencyKey
from apps.webhooks.models import SigningSecret
from tests.cast import Member
from tests.webhooks.making import listen

pytestmark = pytest.mark.django_db


def test_a_workspace_has_one_secret_which_is_sealed_in_the_database(alice: Member, bob: Member) -> None:
    reply = alice.get("/v1/webhooks/signing-secret")
    secret = reply.body["secret"]
    listen(alice, "https://shop.example/hooks/browsa")

    assert alice.get("/v1/webhooks/signing-secret").body == {"secret": secret}
    assert bob.get("/v1/webhooks/signing-secret").body["secret"] != secret
    assert reply.headers["Cache-Control"] == "no-store"
    assert Webhook(secret)
    for row in SigningSecret.objects.all():
        assert secret.encode() not in bytes(row.sealed)


def test_a_sealed_secret_opens_only_for_its_workspace(alice: Member, bob: Member) -> None:
    alice.get("/v1/webhooks/signing-secret")
    bob.get("/v1/webhooks/signing-secret")
    sealed = SigningSecret.objects.get(workspace=alice.workspace).sealed
    SigningSecret.objects.filter(workspace=bob.workspace).update(sealed=sealed)

    assert bob.get("/v1/webhooks/signing-secret").status == 500


def test_rotating_changes_it_and_no_copy_is_kept_in_the_clear(alice: Member) -> None:
    old = alice.get("/v1/webhooks/signing-secret").body["secret"]

    new = alice.post_once("/v1/webhooks/signing-secret/rotate", None, "k").body["secret"]

    assert new != old
    assert alice.get("/v1/webhooks/signing-secret").body["secret"] == new
    assert not IdempotencyKey.objects.exists()


def test_it_can_be_rotated_a_few_times_a_day(alice: Member) -> None:
    alice.get("/v1/webhooks/signing-secret")
    replies = [alice.post("/v1/webhooks/signing-secret/rotate").status for _ in range(5)]

    assert replies == [200, 200, 200, 200, 409]
    SigningSecret.objects.exclude(retired_at=None).update(retired_at=timezone.now() - timedelta(hours=25))
    assert alice.post("/v1/webhooks/signing-secret/rotate").status == 200
    assert SigningSecret.objects.count() == 2, "what is too old to sign is not kept"
