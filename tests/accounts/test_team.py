"""GET /v1/team/members."""

from __future__ import annotations

import pytest

from apps.accounts.models import Membership, User
from tests.cast import Member

pytestmark = pytest.mark.django_db


def test_members_are_listed_with_their_roles(alice: Member, bob: Member) -> None:
    for email, role in (("owner@shop.example", "owner"), ("ops@shop.example", "admin"), ("dev@shop.example", "member")):
        user = User.objects.create_user(email=email, password="a long enough one")
        Membership.objects.create(user=user, workspace=alice.workspace, role=role)

    members = alice.get("/v1/team/members").body["members"]

    assert [(member["email"], member["role"]) for member in members] == [
        ("owner@shop.example", "owner"),
        ("ops@shop.example", "admin"),
        ("dev@shop.example", "member"),
    ]
    assert all(member["created_at"].endswith("Z") and member["id"] for member in members)
    assert bob.get("/v1/team/members").body == {"members": []}
