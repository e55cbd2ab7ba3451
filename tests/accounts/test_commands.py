"""What operators and the embedded stack do from the command line."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from apps.accounts.models import ApiKey, Membership, User, Workspace
from tests.cast import Member, call

pytestmark = pytest.mark.django_db


def run(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def test_mint_key_prints_the_secret_alone(alice: Member) -> None:
    for name in (str(alice.workspace.id), "alice"):
        secret = run("mint_key", name, "--name", "ops").removesuffix("\n")
        assert call("GET", "/v1/agents", key=secret).status == 200


@pytest.mark.parametrize("name", ["unknown", "00000000-0000-4000-8000-000000000000", ""])
def test_mint_key_needs_a_workspace_that_exists(name: str) -> None:
    with pytest.raises(CommandError, match="There is no workspace"):
        run("mint_key", name, "--name", "ops")


def test_two_workspaces_of_one_name_are_told_apart_by_slug(alice: Member) -> None:
    run("create_workspace", "Shop")
    run("create_workspace", "Shop")

    assert len(set(Workspace.objects.filter(name="Shop").values_list("slug", flat=True))) == 2
    with pytest.raises(CommandError, match="UUID"):
        run("mint_key", "Shop", "--name", "ops")


def test_a_new_workspace_has_its_owner_and_its_signup_credits() -> None:
    owner = User.objects.create_user("Owner@Example.com", "a long password")

    created = run("create_workspace", "shop", "--owner-email", "OWNER@example.com").strip()

    assert Membership.objects.get().user == owner
    assert Membership.objects.get().role == "owner"
    assert Workspace.objects.get(id=created).credit_account.balance == 100


def test_addresses_differ_by_more_than_case() -> None:
    from django.db import IntegrityError

    User.objects.create_user("a@example.com")
    with pytest.raises(IntegrityError):
        User.objects.create_user("A@Example.COM")


def bootstrap(path: Path, url: str = "http://127.0.0.1:8000") -> Any:
    run("bootstrap_workspace", "--credentials", str(path), "--api-url", url)
    return json.loads(path.read_text())


def test_bootstrapping_makes_one_workspace_and_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "home" / "credentials.json"

    first = bootstrap(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first["api_url"] == "http://127.0.0.1:8000"
    assert call("GET", "/v1/credits", key=first["api_key"]).body["balance"] == 100
    assert bootstrap(path) == first
    assert (Workspace.objects.count(), ApiKey.objects.count()) == (1, 1)
    assert [file.name for file in path.parent.iterdir()] == ["credentials.json"]


def test_a_lost_file_gets_a_new_key_to_the_same_workspace(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    first = bootstrap(path)
    path.unlink()

    assert bootstrap(path)["api_key"] != first["api_key"]
    assert Workspace.objects.count() == 1


def test_another_port_keeps_the_key(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    first = bootstrap(path)

    assert bootstrap(path, "http://127.0.0.1:9000") == {**first, "api_url": "http://127.0.0.1:9000"}


@pytest.mark.parametrize("content", ["", "[]", '{"api_key": "agt_live_00000000000000000000000000000000"}'])
def test_a_file_of_another_database_is_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(content)

    assert call("GET", "/v1/credits", key=bootstrap(path)["api_key"]).status == 200
