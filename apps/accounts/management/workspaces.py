"""How commands name a workspace."""

from __future__ import annotations

from django.core.management.base import CommandError

from apps.accounts import selectors
from apps.accounts.models import Workspace


def get_workspace(text: str) -> Workspace:
    """Raises CommandError when `text` is no workspace's UUID, slug or unambiguous name."""
    workspace = selectors.find_workspace(text)
    if workspace is None:
        raise CommandError(f"There is no workspace {text!r} (or several of that name: use its UUID).")
    return workspace
