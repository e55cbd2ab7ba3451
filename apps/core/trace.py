"""What the work at hand belongs to: every log line that is written meanwhile carries these ids."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar

_ids: ContextVar[Mapping[str, str]] = ContextVar("trace", default={})  # noqa: B039  replaced, never changed


def current() -> Mapping[str, str]:
    return _ids.get()


def begin() -> None:
    """Forgets what earlier work in the same thread or task belonged to."""
    _ids.set({})


def bind(**ids: object) -> None:
    """From here on, until `begin`."""
    _ids.set({**_ids.get(), **{name: str(value) for name, value in ids.items() if value}})
