"""Writes to accounts."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.text import slugify

from apps.accounts import secrets
from apps.accounts.models import ApiKey, Membership, User, Workspace
from apps.accounts.selectors import Caller
from apps.accounts.signals import workspace_created
from apps.core.errors import NotFound

# `last_used_at` is written at most once in this time.
LAST_USED_RESOLUTION = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A new key with its secret, which is not stored."""

    key: ApiKey
    secret: str


@transaction.atomic
def create_workspace(*, name: str, owner: User | None = None, slug: str = "") -> Workspace:
    """Creates a workspace. Receivers of `workspace_created` add their own rows in the same transaction (billing: the
    account).
    """
    if not slug:
        slug = slugify(name)[:80] or "workspace"
        if Workspace.objects.filter(slug=slug).exists():
            slug = f"{slug}-{uuid.uuid4().hex[:8]}"
    workspace = Workspace.objects.create(name=name, slug=slug)
    if owner is not None:
        Membership.objects.create(workspace=workspace, user=owner, role=Membership.Role.OWNER)
    workspace_created.send(sender=Workspace, workspace=workspace)
    return workspace


def mint_key(*, workspace_id: uuid.UUID, name: str) -> MintedKey:
    secret = secrets.new_secret()
    key = ApiKey.objects.create(
        workspace_id=workspace_id,
        name=name,
        prefix=secrets.display_prefix(secret),
        digest=secrets.digest(secret),
    )
    return MintedKey(key=key, secret=secret)


def revoke_key(*, workspace_id: uuid.UUID, key_id: uuid.UUID) -> None:
    """Revoking a revoked key changes nothing. Raises NotFound for another workspace's key."""
    keys = ApiKey.objects.filter(workspace_id=workspace_id, id=key_id)
    if not keys.filter(revoked_at=None).update(revoked_at=timezone.now()) and not keys.exists():
        raise NotFound("There is no such API key in this workspace.")


def record_use(*, caller: Caller, now: datetime) -> None:
    """Updates `last_used_at`, at most once a minute, so that most reads write nothing."""
    stale = now - LAST_USED_RESOLUTION
    if caller.last_used_at is None or caller.last_used_at < stale:
        unchanged = Q(last_used_at=None) | Q(last_used_at__lt=stale)
        ApiKey.objects.filter(unchanged, id=caller.key_id).update(last_used_at=now)
