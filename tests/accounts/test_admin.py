"""The operators' pages open, and none of them can change history."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission
from django.test import Client

from apps.accounts.models import ApiKey, User, Workspace
from apps.webhooks.models import OutboxEvent
from tests.cast import Member
from tests.fakes.runner import FakeRunner

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("ops@example.com", "a long password"))
    return client


def test_every_page_opens(operator: Client, alice: Member, runner: FakeRunner) -> None:
    alice.delete(f"/v1/agents/{alice.burner()['id']}")

    for model in admin.site._registry:
        listing = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        assert operator.get(listing).status_code == 200, listing
        row = model._default_manager.first()
        if row is not None:
            assert operator.get(f"{listing}{quote(row.pk)}/change/").status_code == 200, listing
    assert operator.get("/admin/accounts/user/add/").status_code == 200


@pytest.mark.parametrize("model", ["ledgerentry", "hold", "creditaccount"])
def test_money_cannot_be_edited(operator: Client, alice: Member, model: str) -> None:
    assert operator.get(f"/admin/billing/{model}/add/").status_code == 403


def test_a_capability_is_not_shown(operator: Client, alice: Member, runner: FakeRunner) -> None:
    agent = alice.burner()
    event = OutboxEvent.objects.get(type="agent.provisioned")

    for shown, model in ((agent["id"], "agents/agent"), (event.id, "webhooks/outboxevent")):
        page = operator.get(f"/admin/{model}/{quote(shown)}/change/").content.decode()
        assert shown in page
        assert agent["cdp_http"].rpartition("/")[2] not in page


def test_a_workspace_made_here_has_its_credits(operator: Client) -> None:
    form = {"name": "Shop", "slug": "shop"}
    inline = {f"membership_set-{name}_FORMS": "0" for name in ("TOTAL", "INITIAL")}

    assert operator.post("/admin/accounts/workspace/add/", {**form, **inline}).status_code == 302
    assert Workspace.objects.get().credit_account.balance == 100


def test_keys_can_be_revoked_here(operator: Client, alice: Member) -> None:
    key = ApiKey.objects.get()

    operator.post("/admin/accounts/apikey/", {"action": "revoke", "_selected_action": [str(key.id)]})

    assert alice.get("/v1/agents").code == "INVALID_API_KEY"


@pytest.mark.parametrize(("permissions", "revoked"), [(["view"], False), (["view", "change"], True)])
def test_who_may_only_look_at_keys_revokes_none(alice: Member, permissions: list[str], revoked: bool) -> None:
    staff = User.objects.create_user("staff@example.com", "a long password", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename__in=[f"{p}_apikey" for p in permissions]))
    client = Client()
    client.force_login(staff)
    key = ApiKey.objects.get()

    assert client.get("/admin/accounts/apikey/").status_code == 200
    client.post("/admin/accounts/apikey/", {"action": "revoke", "_selected_action": [str(key.id)]})

    assert (alice.get("/v1/agents").status == 401) == revoked
