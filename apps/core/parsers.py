"""JSON bodies: a parser that accepts only values that PostgreSQL can store, and content negotiation."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from apps.core.errors import BadRequest

MAX_DEPTH = 64


class StrictJSONParser(BaseParser):
    """`application/json` in UTF-8.

    Rejects with 400, besides invalid JSON: NaN and infinities (RFC 8259 section 6 forbids them), NUL characters
    and lone surrogates in strings (PostgreSQL's text can't store them), nesting deeper than MAX_DEPTH.
    """

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        return loads(stream.read())


def loads(raw: bytes) -> Any:
    """Raises BadRequest."""

    def refuse_constant(name: str) -> Any:
        raise ValueError(f"{name} is not a JSON number")

    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=refuse_constant)
    except UnicodeDecodeError as error:
        raise BadRequest("The body is not valid JSON: it is not UTF-8.") from error
    except RecursionError as error:
        raise BadRequest("The body is not valid JSON: it is nested too deeply.") from error
    except ValueError as error:
        raise BadRequest(f"The body is not valid JSON: {str(error).rstrip('.')}.") from error
    for leaf in _leaves(value):
        if isinstance(leaf, str):
            if "\x00" in leaf:
                raise BadRequest("The body contains a NUL character.")
            if not leaf.isascii():
                try:
                    leaf.encode("utf-8")
                except UnicodeEncodeError as error:
                    raise BadRequest("The body contains half of a surrogate pair.") from error
        elif isinstance(leaf, float) and not math.isfinite(leaf):
            raise BadRequest("The body is not valid JSON: a number is too large.")
    return value


def _leaves(value: Any) -> Iterator[Any]:
    """Every scalar and every object key, without recursion."""
    pending: list[tuple[Any, int]] = [(value, 0)]
    while pending:
        item, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise BadRequest("The body is not valid JSON: it is nested too deeply.")
        if isinstance(item, dict):
            yield from item
            pending.extend((child, depth + 1) for child in item.values())
        elif isinstance(item, list):
            pending.extend((child, depth + 1) for child in item)
        else:
            yield item


class AlwaysJSON(DefaultContentNegotiation):
    """Ignores `Accept`: the API has one media type, and a 406 would help no client."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> Any:
        first = next(iter(renderers))
        return first, first.media_type
