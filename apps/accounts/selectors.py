"""Reads of accounts."""

from __future__ import annotations

import uuid

from django.db.models import Q

from apps.accounts import secrets
from apps.accounts.models import ApiKey, Workspace
from apps.core.pagination import Page, PageRequest, paginate


def active_key(secret: str) -> ApiKey | None:
    """The key with that secret, and its workspace; None when it is malformed, unknown or revoked. One query."""
    if not secrets.well_formed(secret):
        return None
    keys = ApiKey.objects.select_related("workspace")
    return keys.filter(digest=secrets.digest(secret), revoked_at=None).first()


def keys(*, workspace: Workspace, page: PageRequest) -> Page[ApiKey]:
    return paginate(ApiKey.objects.filter(workspace=workspace), page, by=("created_at", "id"))


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
