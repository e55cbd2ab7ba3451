"""The workspace argument of commands."""

from __future__ import annotations

from django.core.management.base import CommandError

from apps.accounts import selectors
from apps.accounts.models import Workspace


def get_workspace(text: str) -> Workspace:
    """Raises CommandError unless `text` is the UUID, the slug or the unique name of a workspace."""
    workspace = selectors.find_workspace(text)
    if workspace is None:
        raise CommandError(f"There is no workspace {text!r}, or there are several with this name: use its UUID.")
    return workspace
