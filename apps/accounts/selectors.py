"""Reads of accounts."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Q

from apps.accounts import secrets
from apps.accounts.models import ApiKey, Membership, Workspace
from apps.core.pagination import CursorPage, CursorQuery, paginate
from apps.core.prepared import Prepared

_CALLER = Prepared(
    "read_caller",
    "SELECT key.id, workspace_id, last_used_at, rate_limits::text FROM accounts_apikey AS key"
    " JOIN accounts_workspace AS workspace ON workspace.id = workspace_id"
    " WHERE digest = %s AND revoked_at IS NULL",
)


@dataclass(frozen=True, slots=True)
class Caller:
    """An active API key and its workspace. `rate_limits` is JSON."""

    key_id: uuid.UUID
    workspace_id: uuid.UUID
    last_used_at: datetime | None
    rate_limits: str = "{}"


def caller(secret: str) -> Caller | None:
    """The active key with that secret; None when it is malformed, unknown or revoked."""
    if not secrets.well_formed(secret):
        return None
    # Every request runs this. The ORM would take 1 ms, mostly to build the SQL.
    with connection.cursor() as cursor:
        _CALLER.execute(cursor, [secrets.digest(secret)])
        row = cursor.fetchone()
    return None if row is None else Caller(*row)


def keys(*, workspace_id: uuid.UUID, page: CursorQuery) -> CursorPage[ApiKey]:
    return paginate(ApiKey.objects.filter(workspace_id=workspace_id), page, by=("created_at", "id"))


def find_workspace(text: str) -> Workspace | None:
    """By UUID, slug or unambiguous name, as operators type it."""
    try:
        return Workspace.objects.filter(id=uuid.UUID(text)).first()
    except ValueError:
        pass
    found = list(Workspace.objects.filter(Q(slug=text) | Q(name=text))[:3])
    exact = [workspace for workspace in found if workspace.slug == text]
    if exact:
        return exact[0]
    return found[0] if len(found) == 1 else None


def memberships(*, workspace_id: uuid.UUID) -> list[Membership]:
    """With their users, oldest first."""
    return list(
        Membership.objects.filter(workspace_id=workspace_id).select_related("user").order_by("created_at", "id")
    )
