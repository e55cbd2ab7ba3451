"""What a delivery's body is, and how it is signed. Pure.

Two signatures: `X-Agents-Signature` as the specification's verifiers check it, and the headers of Standard Webhooks
(https://www.standardwebhooks.com), which also cover the event's id and the time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

PREFIX = "whsec_"
_SECRET_BYTES = 32


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def body(*, event_id: str, type: str, created_at: datetime, workspace_id: uuid.UUID, data: str) -> bytes:
    """The event as it is sent. `data` is JSON as the database writes it, so that every attempt has the same bytes."""
    at = created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    head = json.dumps({"id": event_id, "type": type, "created_at": at, "workspace_id": str(workspace_id)})
    return f'{head[:-1]}, "data": {data}}}'.encode()


def headers(content: bytes, *, event_id: str, keys: Sequence[str], at: datetime) -> dict[str, str]:
    """`keys` are the workspace's secrets, the current one first; the others have been rotated out lately."""
    stamp = str(int(at.timestamp()))
    return {
        "X-Agents-Signature": hmac.new(keys[0].encode(), content, hashlib.sha256).hexdigest(),
        "webhook-id": event_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(_standard(key, f"{event_id}.{stamp}.".encode() + content) for key in keys),
    }


def _standard(key: str, signed: bytes) -> str:
    raw = base64.b64decode(key.removeprefix(PREFIX))
    return "v1," + base64.b64encode(hmac.new(raw, signed, hashlib.sha256).digest()).decode()
