"""The ids of the current work: the request id, and the ids that every log line carries."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from contextvars import ContextVar

REQUEST_ID_HEADER = "X-Request-Id"
_VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)

_request_id: ContextVar[str] = ContextVar("request_id", default="")
_ids: ContextVar[Mapping[str, str]] = ContextVar("trace", default={})  # noqa: B039  replaced, never changed


def choose_request_id(from_client: str | None) -> str:
    """The client's own id if it is valid, else a new UUID."""
    if from_client and _VALID_REQUEST_ID.fullmatch(from_client):
        return from_client
    return str(uuid.uuid4())


def request_id() -> str:
    """The id of the current request; empty outside of a request."""
    return _request_id.get()


def bind_request_id(value: str) -> None:
    _request_id.set(value)


def ids() -> Mapping[str, str]:
    return _ids.get()


def bind(**ids: object) -> None:
    """Adds ids to every log line of this thread or task, until `clear`."""
    _ids.set({**_ids.get(), **{name: str(value) for name, value in ids.items() if value}})


def clear() -> None:
    """Removes the ids of earlier work in the same thread or task."""
    _ids.set({})
