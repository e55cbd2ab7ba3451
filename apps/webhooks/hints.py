"""Tells deliverers which endpoints have something due."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress

from apps.core.hints import publish_on_commit

CHANNEL = "browsa:webhooks"

# An endpoint, and the workspace that it belongs to.
EndpointRef = tuple[uuid.UUID, uuid.UUID]


def notify_deliverers(workspace_id: uuid.UUID, endpoint_ids: Iterable[uuid.UUID]) -> None:
    """After the commit. Without Redis they find out at their next look, about a second later."""
    named = " ".join(str(endpoint_id) for endpoint_id in endpoint_ids)
    if named:
        publish_on_commit(CHANNEL, f"{workspace_id} {named}")


def read(message: bytes) -> Iterator[EndpointRef]:
    """The endpoints that a hint names; none if it is malformed."""
    with suppress(ValueError):
        workspace_id, *endpoint_ids = (uuid.UUID(part) for part in message.decode("ascii").split())
        for endpoint_id in endpoint_ids:
            yield endpoint_id, workspace_id
