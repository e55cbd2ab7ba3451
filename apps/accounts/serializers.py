"""Request and response bodies of API keys and of the team."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rest_framework import serializers

from apps.accounts.models import ApiKey, Membership
from apps.accounts.services import MintedKey
from apps.core.fields import StrictCharField
from apps.core.pagination import CursorPage
from apps.core.times import rfc3339, rfc3339_or_none


class MintKeySerializer(serializers.Serializer[Any]):
    name = StrictCharField(min_length=1, max_length=100, help_text="The purpose of the key.")


class KeyLinkSerializer(serializers.Serializer[Any]):
    method = serializers.CharField()
    href = serializers.CharField()


class KeyLinksSerializer(serializers.Serializer[Any]):
    revoke = KeyLinkSerializer()


class ApiKeySerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    prefix = serializers.CharField(help_text="`agt_live_` and the first five digits.")
    created_at = serializers.DateTimeField()
    last_used_at = serializers.DateTimeField(allow_null=True, help_text="Exact to the minute.")
    revoked_at = serializers.DateTimeField(allow_null=True)
    _links = KeyLinksSerializer(required=False, help_text="Only on active keys.")


class MintedKeySerializer(ApiKeySerializer):
    secret = serializers.CharField(help_text="The key itself. It is shown only once.")


class ApiKeysSerializer(serializers.Serializer[Any]):
    keys = ApiKeySerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


def key_body(key: ApiKey) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": str(key.id),
        "name": key.name,
        "prefix": key.prefix,
        "created_at": rfc3339(key.created_at),
        "last_used_at": rfc3339_or_none(key.last_used_at),
        "revoked_at": rfc3339_or_none(key.revoked_at),
    }
    if key.revoked_at is None:
        body["_links"] = {"revoke": {"method": "DELETE", "href": f"/v1/keys/{key.id}"}}
    return body


def minted_body(minted: MintedKey) -> dict[str, Any]:
    return {**key_body(minted.key), "secret": minted.secret}


def keys_body(page: CursorPage[ApiKey]) -> dict[str, Any]:
    return {"keys": [key_body(key) for key in page.rows], "next_cursor": page.next_cursor}


class TeamMemberSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    email = serializers.EmailField()
    role = serializers.ChoiceField(choices=Membership.Role.choices)
    created_at = serializers.DateTimeField(help_text="When the membership began.")


class TeamSerializer(serializers.Serializer[Any]):
    members = TeamMemberSerializer(many=True)


def team_body(memberships: Iterable[Membership]) -> dict[str, Any]:
    return {
        "members": [
            {
                "id": str(membership.user_id),
                "email": membership.user.email,
                "role": membership.role,
                "created_at": rfc3339(membership.created_at),
            }
            for membership in memberships
        ]
    }
