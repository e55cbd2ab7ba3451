"""Tasks for an agent with a model."""

from __future__ import annotations

from typing import NoReturn

from apps.core.errors import BadRequest


def begin_routed(*, reason: str) -> NoReturn:
    """Where the router hands over what is no plain scrape. There are no tasks yet: raises BadRequest."""
    raise BadRequest(
        f"This needs an agent ({reason}), and tasks for agents are not available yet. A plain fetch of one URL is:"
        " “Go to https://example.com and return the text”."
    )
