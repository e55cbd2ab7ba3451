"""API keys: how they are sent, minted, listed and revoked."""

from __future__ import annotations

import hashlib
import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.accounts.models import ApiKey
from tests.cast import Member, call

pytestmark = pytest.mark.django_db

PATHS = ["/v1/agents", "/v1/agents/agt_" + "0" * 20, "/v1/credits", "/v1/credits/ledger", "/v1/keys"]


@pytest.mark.parametrize("path", PATHS)
def test_without_a_key_nothing_answers(path: str) -> None:
    reply = call("GET", path)

    assert (reply.status, reply.code) == (401, "UNAUTHORIZED")
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "secret",
    [
        "x",
        "agt_live_",
        "agt_live_" + "0" * 24,
        "agt_live_" + "0" * 32,
        "agt_live_" + "0" * 33,
        "agt_live_" + "G" * 32,
        "AGT_LIVE_" + "0" * 32,
        "agt_live_" + "0" * 31 + "ü",
        "' OR 1=1 --",
        "x" * 10_000,
    ],
)
def test_an_invalid_key_is_refused(alice: Member, secret: str) -> None:
    for headers in ({"X-API-Key": secret}, {"Authorization": f"Bearer {secret}"}):
        reply = call("GET", "/v1/agents", headers=headers)
        assert (reply.status, reply.code) == (401, "INVALID_API_KEY")
        assert "WWW-Authenticate" in reply.headers


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_key_may_come_as_a_bearer_token(alice: Member, scheme: str) -> None:
    assert call("GET", "/v1/agents", headers={"Authorization": f"{scheme} {alice.secret}"}).status == 200


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic dXNlcjpwdw==", "{}"])
def test_other_authorization_is_no_key(alice: Member, value: str) -> None:
    assert call("GET", "/v1/agents", headers={"Authorization": value}).code == "UNAUTHORIZED"


def test_a_minted_key_works_and_is_shown_once(alice: Member) -> None:
    minted = alice.post("/v1/keys", {"name": "ci-pipeline"})

    secret = minted.body["secret"]
    assert minted.status == 201
    assert re.fullmatch(r"agt_live_[0-9a-f]{32}", secret)
    assert minted.body["prefix"] == secret[:14]
    assert call("GET", "/v1/agents", key=secret).status == 200
    assert secret.encode() not in alice.get("/v1/keys").content
    assert ApiKey.objects.get(id=minted.body["id"]).digest == hashlib.sha256(secret.encode()).hexdigest()


def test_keys_are_listed_as_the_specification_shows_them(alice: Member) -> None:
    minted = alice.post("/v1/keys", {"name": "ci-pipeline"}).body

    newest, own = alice.get("/v1/keys").body["keys"]

    assert newest == {
        "id": minted["id"],
        "name": "ci-pipeline",
        "prefix": minted["prefix"],
        "created_at": minted["created_at"],
        "last_used_at": None,
        "revoked_at": None,
        "_links": {"revoke": {"method": "DELETE", "href": f"/v1/keys/{minted['id']}"}},
    }
    assert own["last_used_at"] is not None


def test_a_revoked_key_is_dead_at_once_and_has_no_revoke_link(alice: Member) -> None:
    minted = alice.post("/v1/keys", {"name": "ci"}).body

    for _ in range(2):
        assert alice.delete(minted["_links"]["revoke"]["href"]).status == 204

    assert call("GET", "/v1/agents", key=minted["secret"]).code == "INVALID_API_KEY"
    listed = alice.get("/v1/keys").body["keys"][0]
    assert listed["revoked_at"] is not None
    assert "_links" not in listed


def test_a_key_may_revoke_itself(alice: Member) -> None:
    (own,) = alice.get("/v1/keys").body["keys"]

    assert alice.delete(f"/v1/keys/{own['id']}").status == 204
    assert alice.get("/v1/keys").code == "INVALID_API_KEY"


def test_a_key_of_another_workspace_cannot_be_seen_or_revoked(alice: Member, bob: Member) -> None:
    (own,) = alice.get("/v1/keys").body["keys"]

    assert bob.delete(f"/v1/keys/{own['id']}").code == "NOT_FOUND"
    assert bob.delete(f"/v1/keys/{uuid.uuid4()}").code == "NOT_FOUND"
    assert own["id"] not in [key["id"] for key in bob.get("/v1/keys").body["keys"]]
    assert alice.get("/v1/keys").status == 200


@pytest.mark.parametrize("key_id", ["x", "1", "agt_x", "252e8eac", "252e8eacea4f415cbd8f242e33c78422"])
def test_an_id_that_is_no_uuid_is_named(alice: Member, key_id: str) -> None:
    reply = alice.delete(f"/v1/keys/{key_id}")

    assert (reply.status, reply.code) == (400, "INVALID_ID")
    assert "UUID" in reply.body["error"]


@pytest.mark.parametrize("body", [{}, *({"name": name} for name in (None, "", "  ", "x" * 101, 5, True, [], {}))])
def test_a_name_is_needed(alice: Member, body: dict[str, Any]) -> None:
    reply = alice.post("/v1/keys", body)

    assert (reply.status, list(reply.body["fields"])) == (400, ["name"])
    assert ApiKey.objects.count() == 1


def test_use_is_noted_at_most_once_a_minute(alice: Member) -> None:
    def last_used() -> datetime | None:
        return ApiKey.objects.get().last_used_at

    alice.get("/v1/agents")
    first = last_used()
    alice.get("/v1/agents")
    assert last_used() == first is not None

    ApiKey.objects.update(last_used_at=datetime.now(UTC) - timedelta(seconds=61))
    alice.get("/v1/agents")
    assert (last_used() or first) > first
