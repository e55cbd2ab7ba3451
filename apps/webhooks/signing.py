"""The body of a delivery and its signatures. Pure.

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
    """The body of every attempt. `data` is JSON as the database writes it, so all attempts have the same bytes."""
    at = created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    head = json.dumps({"id": event_id, "type": type, "created_at": at, "workspace_id": str(workspace_id)})
    return f'{head[:-1]}, "data": {data}}}'.encode()


def headers(
    content: bytes, *, event_id: str, keys: Sequence[str], at: datetime, timestamped: bool = False
) -> dict[str, str]:
    """`keys` are the workspace's secrets: the current one first, then those that still sign after a rotation.

    `timestamped`: `X-Agents-Signature` is `t=<unix>, v1=<hex>` and covers `<unix>.` before the body.
    """
    stamp = str(int(at.timestamp()))
    signed = f"{event_id}.{stamp}.".encode() + content
    signatures = []
    for key in keys:
        digest = hmac.new(base64.b64decode(key.removeprefix(PREFIX)), signed, hashlib.sha256).digest()
        signatures.append("v1," + base64.b64encode(digest).decode())
    covered = f"{stamp}.".encode() + content if timestamped else content
    ours = hmac.new(keys[0].encode(), covered, hashlib.sha256).hexdigest()
    return {
        "X-Agents-Signature": f"t={stamp}, v1={ours}" if timestamped else ours,
        "webhook-id": event_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(signatures),
    }
