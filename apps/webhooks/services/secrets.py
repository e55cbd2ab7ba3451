"""The signing secrets of workspaces."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import connection, transaction
from django.utils import timezone

from apps.accounts.models import Workspace
from apps.core import sealing
from apps.core.errors import Conflict
from apps.webhooks import selectors, signing
from apps.webhooks.models import SigningSecret
from apps.webhooks.selectors import SECRET_GRACE

# Each retired secret that still signs adds 48 bytes to a header of every delivery.
MAX_RETIRED = 4


def current_secret(*, workspace_id: uuid.UUID) -> str:
    """The workspace's current secret, created at the first call."""
    known = selectors.secrets(workspace_ids=[workspace_id]).get(workspace_id)
    if not known:
        _create_if_missing(workspace_id, timezone.now())
        known = selectors.secrets(workspace_ids=[workspace_id])[workspace_id]
    return selectors.unsealed(workspace_id, known)[0]


@transaction.atomic
def rotate_secret(*, workspace_id: uuid.UUID, now: datetime | None = None) -> str:
    """Creates a new secret. The old one still signs the Standard Webhooks header for 24 hours. Raises Conflict."""
    now = now or timezone.now()
    Workspace.objects.select_for_update(no_key=True).get(id=workspace_id)  # one rotation at a time
    secrets = SigningSecret.objects.filter(workspace_id=workspace_id)
    if secrets.filter(retired_at__gt=now - SECRET_GRACE).count() >= MAX_RETIRED:
        raise Conflict(
            f"The secret was rotated {MAX_RETIRED} times in the last 24 hours."
            " Try again when the oldest rotation is older than that."
        )
    secrets.filter(retired_at__lte=now - SECRET_GRACE).delete()
    secrets.filter(retired_at=None).update(retired_at=now)
    _create_if_missing(workspace_id, now)
    return current_secret(workspace_id=workspace_id)


def _create_if_missing(workspace_id: uuid.UUID, now: datetime) -> None:
    """Does nothing when there is a current secret: of two concurrent calls the first wins."""
    sealed = sealing.seal(signing.new_secret().encode(), context=selectors.secret_context(workspace_id))
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO webhooks_signingsecret (workspace_id, sealed, created_at) VALUES (%s, %s, %s)"
            " ON CONFLICT (workspace_id) WHERE retired_at IS NULL DO NOTHING",
            [workspace_id, sealed, now],
        )
