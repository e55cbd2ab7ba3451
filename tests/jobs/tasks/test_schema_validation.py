"""Answers against schemas that callers send: what fits, what does not, and what would never end."""

from __future__ import annotations

import time
from typing import Any

import pytest

from apps.jobs.tasks.schema_validation import problem
from tests.patience import PATIENCE

PERSON = {
    "type": "object",
    "properties": {
        "name": {"$ref": "#/$defs/name"},
        "mood": {"enum": ["good", "bad"]},
        "age": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"name": {"type": "string", "pattern": "^[A-Z]"}},
}


@pytest.mark.parametrize("value", [{"name": "Ada"}, {"name": "Ada", "mood": "bad", "age": None}])
async def test_what_fits(value: Any) -> None:
    assert await problem(value, PERSON, seconds=PATIENCE) is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({}, "'name' is a required property"),
        ({"name": "ada"}, "at name: 'ada' does not match"),
        ({"name": "Ada", "mood": "so so"}, "at mood: 'so so' is not one of"),
        ({"name": "Ada", "age": "36"}, "at age: '36' is not"),
        ({"name": "Ada", "more": 1}, "Additional properties"),
        ([], "[] is not of type 'object'"),
    ],
)
async def test_what_does_not(value: Any, words: str) -> None:
    assert words in (await problem(value, PERSON, seconds=PATIENCE) or "")


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ("a" * 40 + "!", {"pattern": "^(a+)+$"}),
        (1, {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}),
    ],
    ids=["a pattern that explodes", "a schema that is made of itself"],
)
async def test_what_would_take_for_ever_fits_not(value: Any, schema: dict[str, Any]) -> None:
    began = time.monotonic()

    assert "limit of time or memory" in (await problem(value, schema, seconds=3) or "")

    assert time.monotonic() - began < 10


async def test_a_reference_to_another_document_is_not_followed() -> None:
    assert "limit of time or memory" in (await problem(1, {"$ref": "file:///etc/passwd"}) or "")
