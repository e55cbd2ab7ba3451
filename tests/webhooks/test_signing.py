"""Signatures as receivers check them: with the specification's three verifiers and with the public library."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from apps.webhooks import signing
from tests.cast import Member
from tests.fakes.receivers import Got, Receivers
from tests.webhooks.making import happen, listen

NODE = Path(__file__).parents[1] / "node" / "verify_webhook.mjs"

# Secret, body, and what the specification's verifier for Go expects of them (computed with openssl, not with our code):
#   printf %s BODY | openssl dgst -sha256 -hmac SECRET
_SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
VECTORS = [
    (_SECRET, '{"id": "evt_1"}', "665c44a8fa83664f53349f3f9453a050f200842a710fe56a9b66f22ab96281d1"),
    (_SECRET, '{"id": "ü"}', "3d31f0c91cd379fa2416d8b9b70b81ec818047597b11e6a272ebe052fbce7b50"),
    ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "", "da5f5865984e699a69cfec62ce49a76daf8ae4601b54a781fa13f3b2d3b2088a"),
]


def verify(raw_body: bytes, header: str, secret: str) -> bool:
    """The specification's verifier for Python, word for word."""
    expected = hmac.new(secret.encode(), raw_body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, header)


def node_verdicts(deliveries: list[tuple[bytes, str, str]]) -> list[bool]:
    told = [{"body": base64.b64encode(b).decode(), "header": h, "secret": s} for b, h, s in deliveries]
    done = subprocess.run(["node", str(NODE)], input=json.dumps(told), capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))


def changed(body: bytes) -> Iterator[bytes]:
    """The body with one byte changed, at a few places."""
    for place in (0, len(body) // 2, len(body) - 1):
        yield body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


@pytest.fixture
def delivered(carol: Member, receivers: Receivers, deliverer: None) -> list[Got]:
    """What a receiver got; text of every kind is in it."""
    shop = receivers.answering(200)
    listen(carol, shop.url())
    happen(carol, count=3, text='ünïcödé ✓ " \\ </script> \u2028')
    return shop.wait_for(3)


def secret_of(member: Member) -> str:
    secret: str = member.get("/v1/webhooks/signing-secret").body["secret"]
    return secret


def test_the_specifications_verifiers_accept_it_and_no_changed_byte(carol: Member, delivered: list[Got]) -> None:
    secret = secret_of(carol)
    good = [(got.body, got.headers["x-agents-signature"], secret) for got in delivered]
    bad = [(body, header, secret) for original, header, _ in good for body in changed(original)]

    assert [verify(*one) for one in good] == [True] * len(good)
    assert [verify(*one) for one in bad] == [False] * len(bad)
    if shutil.which("node"):
        assert node_verdicts(good + bad) == [True] * len(good) + [False] * len(bad)


@pytest.mark.parametrize(("secret", "body", "expected"), VECTORS)
def test_known_signatures(secret: str, body: str, expected: str) -> None:
    headers = signing.headers(body.encode(), event_id="evt_1", keys=[secret], at=datetime(2026, 6, 9, tzinfo=UTC))

    assert headers["X-Agents-Signature"] == expected


def test_the_public_library_accepts_it_and_no_changed_byte(carol: Member, delivered: list[Got]) -> None:
    library = Webhook(secret_of(carol))

    for got in delivered:
        assert library.verify(got.body, got.headers)["type"] == "agent.failed"
        for body in changed(got.body):
            with pytest.raises((WebhookVerificationError, UnicodeDecodeError)):
                library.verify(body, got.headers)
        with pytest.raises(WebhookVerificationError):
            library.verify(got.body, {**got.headers, "webhook-id": "evt_2"})


def test_while_a_secret_is_rotated_old_and_new_both_verify(
    carol: Member, receivers: Receivers, deliverer: None
) -> None:
    shop = receivers.answering(200)
    listen(carol, shop.url())
    old = secret_of(carol)
    new = carol.post("/v1/webhooks/signing-secret/rotate").body["secret"]
    newest = carol.post("/v1/webhooks/signing-secret/rotate").body["secret"]

    happen(carol)

    (got,) = shop.wait_for(1)
    assert len({old, new, newest}) == 3
    for secret in (old, new, newest):
        assert Webhook(secret).verify(got.body, got.headers)
        for body in changed(got.body):
            with pytest.raises((WebhookVerificationError, UnicodeDecodeError)):
                Webhook(secret).verify(body, got.headers)
    assert verify(got.body, got.headers["x-agents-signature"], newest)
    with pytest.raises(WebhookVerificationError):
        Webhook(signing.new_secret()).verify(got.body, got.headers)


def test_a_body_is_the_specifications_envelope(carol: Member, delivered: list[Got]) -> None:
    body = json.loads(delivered[0].body)

    assert list(body) == ["id", "type", "created_at", "workspace_id", "data"]
    assert re.fullmatch(r"evt_[0-9a-f]{32}", body["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["created_at"])
    assert body["workspace_id"] == str(carol.workspace.id)
    assert body["data"]["text"] == 'ünïcödé ✓ " \\ </script> \u2028'
    assert delivered[0].headers["content-type"] == "application/json"


def test_a_new_secret_is_256_random_bits() -> None:
    secrets = {signing.new_secret() for _ in range(50)}

    assert len(secrets) == 50
    assert {len(base64.b64decode(secret.removeprefix("whsec_"))) for secret in secrets} == {32}


def test_a_timestamped_signature_covers_the_time_and_the_body(
    carol: Member, receivers: Receivers, deliverer: None
) -> None:
    """As the public client verifies it: `t=<unix>, v1=<hex of HMAC over "<unix>." + raw body>`."""
    shop = receivers.answering(200)
    hook = carol.post("/v1/webhooks", {"url": shop.url(), "signature": "timestamped"}).body
    happen(carol, count=1)
    (got,) = shop.wait_for(1)

    stamp, digest = re.fullmatch(r"t=(\d+), v1=([0-9a-f]{64})", got.headers["x-agents-signature"]).groups()  # type: ignore[union-attr]
    signed = f"{stamp}.".encode() + got.body
    assert hook["signature"] == "timestamped"
    assert stamp == got.headers["webhook-timestamp"]
    assert digest == hmac.new(secret_of(carol).encode(), signed, hashlib.sha256).hexdigest()
