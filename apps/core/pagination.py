"""Keyset pagination, newest first: `?limit=1..200&cursor=…`, and `next_cursor` while there are more rows.

A cursor is the sort key of the last row of a page, so new rows neither repeat nor hide others.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Field, Model, Q, QuerySet

from apps.core.errors import ValidationFailed

DEFAULT_LIMIT = 50
MAX_LIMIT = 200

M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True)
class CursorQuery:
    limit: int
    cursor: str | None

    @classmethod
    def from_query(cls, parameters: Mapping[str, str]) -> CursorQuery:
        """Raises ValidationFailed for a limit that is not a whole number from 1 to 200."""
        text = parameters.get("limit", str(DEFAULT_LIMIT))
        if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= MAX_LIMIT:
            raise ValidationFailed({"limit": [f"must be a whole number from 1 to {MAX_LIMIT}"]})
        return cls(limit=int(text), cursor=parameters.get("cursor") or None)


@dataclass(frozen=True, slots=True)
class CursorPage(Generic[M]):
    rows: list[M]
    next_cursor: str | None


def paginate(rows: QuerySet[M], query: CursorQuery, *, by: Sequence[str]) -> CursorPage[M]:
    """One page of `rows`, sorted by the fields `by`, all descending; together they must be unique."""
    if query.cursor is not None:
        rows = rows.filter(_rows_after(rows.model, _decode(query.cursor), by))
    found = list(rows.order_by(*(f"-{name}" for name in by))[: query.limit + 1])
    more = len(found) > query.limit
    page = found[: query.limit]
    return CursorPage(rows=page, next_cursor=_encode([getattr(page[-1], name) for name in by]) if more else None)


def _rows_after(model: type[Model], values: list[Any], by: Sequence[str]) -> Q:
    if len(values) != len(by):
        raise _bad_cursor()
    try:
        key = []
        for name, value in zip(by, values, strict=True):
            field = model._meta.get_field(name)
            if not isinstance(field, Field):
                raise TypeError(f"{name} is not a column")
            key.append(field.to_python(value))
    except (ValidationError, TypeError, ValueError, OverflowError) as error:
        raise _bad_cursor() from error
    if any(value is None or (isinstance(value, int) and abs(value) >= 2**63) for value in key):
        raise _bad_cursor()
    after = Q()
    for position, name in enumerate(by):
        equal = {by[i]: key[i] for i in range(position)}
        after |= Q(**equal, **{f"{name}__lt": key[position]})
    return after


def _encode(values: list[Any]) -> str:
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return base64.urlsafe_b64encode(json.dumps(plain, default=str).encode()).rstrip(b"=").decode()


def _decode(cursor: str) -> list[Any]:
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise _bad_cursor() from error
    if not isinstance(values, list) or not all(isinstance(value, str | int) for value in values):
        raise _bad_cursor()
    if any(isinstance(value, str) and ("\x00" in value or not value.isascii()) for value in values):
        raise _bad_cursor()
    return values


def _bad_cursor() -> ValidationFailed:
    return ValidationFailed({"cursor": ["must be the next_cursor of this list"]})
