"""The webhooks' part of readiness."""

from __future__ import annotations

from typing import Any

from apps.webhooks import selectors


def deliveries() -> dict[str, Any]:
    """A detail for the operator. Late deliveries are no reason not to be ready: agents can be had all the same."""
    return {"oldest_due_seconds": round(selectors.oldest_due_seconds(), 1)}
