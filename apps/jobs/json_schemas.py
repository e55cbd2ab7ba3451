"""Whether a JSON value is a JSON Schema (of the draft that it names, else 2020-12) that the API accepts. Pure.

A reference to another document is refused, because a program that uses the schema might fetch it. The limits bound
the time of the check.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft4Validator, Draft6Validator, Draft7Validator, Draft201909Validator, Draft202012Validator
from jsonschema.exceptions import SchemaError
from jsonschema.protocols import Validator

MAX_VALUES = 2000
MAX_DEPTH = 32
MAX_ITEMS = 500

_DRAFTS: dict[str, type[Validator]] = {
    str(draft.META_SCHEMA.get("$id") or draft.META_SCHEMA["id"]).rstrip("#"): draft
    for draft in (Draft202012Validator, Draft201909Validator, Draft7Validator, Draft6Validator, Draft4Validator)
}
_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})


def check(schema: dict[str, Any]) -> None:
    """Raises ValueError, saying what is wrong with `schema`."""
    for count, (name, value) in enumerate(_values(schema)):
        if count >= MAX_VALUES:
            raise ValueError(f"is too large: it may hold {MAX_VALUES} values at most")
        if name in _REFERENCES and isinstance(value, str) and not value.startswith("#"):
            raise ValueError(f"may refer only to itself (#…), not to {value[:100]!r}")
        if isinstance(value, list) and len(value) > MAX_ITEMS:
            raise ValueError(f"may hold no list of more than {MAX_ITEMS} items")
    try:
        validator_of(schema).check_schema(schema)
    except SchemaError as error:
        where = "/".join(str(step) for step in error.absolute_path)
        raise ValueError(f"is not a JSON Schema: {f'at {where}: ' if where else ''}{error.message[:200]}") from error


def validator_of(schema: dict[str, Any]) -> type[Validator]:
    """For the draft that it names. Raises ValueError for one that is not known."""
    named = schema.get("$schema", Draft202012Validator.META_SCHEMA["$id"])
    known = _DRAFTS.get(named.rstrip("#")) if isinstance(named, str) else None
    if known is None:
        raise ValueError(f"names a draft in $schema that is not known: {str(named)[:100]!r}")
    return known


def _values(schema: Any) -> Iterator[tuple[str, Any]]:
    """Every value with the name it stands under, without recursion."""
    pending: list[tuple[str, Any, int]] = [("", schema, 0)]
    while pending:
        name, value, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise ValueError(f"is nested too deeply: {MAX_DEPTH} levels at most")
        yield name, value
        if isinstance(value, dict):
            pending.extend((key, child, depth + 1) for key, child in value.items())
        elif isinstance(value, list):
            pending.extend(("", child, depth + 1) for child in value)
