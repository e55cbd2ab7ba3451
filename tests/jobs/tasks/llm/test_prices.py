"""What a model's tokens cost: the defaults, and what the operator changes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apps.jobs.tasks.llm import prices
from apps.jobs.tasks.llm.names import ModelName
from apps.jobs.tasks.llm.prices import ModelPrice


def price(text: str, table: str = "{}") -> ModelPrice | None:
    return prices.price_of(ModelName.parse(text), prices.parse(table))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("claude-haiku-4-5", ModelPrice(1, 5)),
        ("anthropic:claude-haiku-4-5-20251001", ModelPrice(1, 5)),
        ("claude-3-7-sonnet-latest", ModelPrice(3, 15)),
        ("gpt-4.1-mini", ModelPrice(0.4, 1.6)),
        ("openai:gpt-4o-2024-11-20", ModelPrice(2.5, 10)),
        ("openai:claude-haiku-4-5", None),
        ("gpt-4.1-mini-2", None),
        ("meta-llama/llama-3.3-70b:free", None),
    ],
)
def test_a_model_has_the_price_of_its_name_or_none(name: str, expected: ModelPrice | None) -> None:
    assert price(name) == expected


def test_cost_is_for_input_and_output() -> None:
    assert ModelPrice(3, 15).cost((1_000_000, 100_000)) == 4.5
    assert ModelPrice(0.4, 1.6).cost((1, 1)) == 0.000002
    assert ModelPrice(1, 5).cost((0, 0)) == 0


def test_the_operator_adds_changes_and_removes_prices() -> None:
    table = json.dumps({"llama": {"input": 0, "output": 0.5}, "gpt-4o": {"input": 9, "output": 9}, "gpt-5": None})

    assert price("openai:llama", table) == ModelPrice(0, 0.5)
    assert price("gpt-4o-2024-11-20", table) == ModelPrice(9, 9)
    assert price("gpt-5", table) is None
    assert price("gpt-4.1", table) == ModelPrice(2, 8)


@pytest.mark.parametrize(
    "table",
    [
        [],
        {"": None},
        {"m": 5},
        {"m": {"input": 1}},
        {"m": {"input": 1, "output": "2"}},
        {"m": {"input": -1, "output": 2}},
        {"m": {"input": True, "output": 2}},
        {"m": {"input": 1, "output": 10**6}},
    ],
)
def test_an_invalid_table_is_refused(table: Any) -> None:
    with pytest.raises(ValueError, match=r"must be|at most"):
        prices.parse(json.dumps(table))


@pytest.mark.parametrize("text", ["", "nonsense", '{"m": {"input": NaN, "output": 1}}'])
def test_so_is_text_that_is_no_table(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        prices.parse(text)
