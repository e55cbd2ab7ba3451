"""The id that ties a request, its answer and its log lines together."""

from __future__ import annotations

import re
import uuid
from contextvars import ContextVar

HEADER = "X-Request-Id"
_VALID = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)

_current: ContextVar[str] = ContextVar("request_id", default="")


def choose(from_client: str | None) -> str:
    """The client's own id if it is a valid one, else a new UUID."""
    if from_client and _VALID.fullmatch(from_client):
        return from_client
    return str(uuid.uuid4())


def current() -> str:
    """The id of the request being answered; empty outside of one."""
    return _current.get()


def bind(request_id: str) -> None:
    _current.set(request_id)
