"""What models cost: US dollars for a million tokens. Pure.

The defaults are the public prices of https://www.anthropic.com/pricing and https://openai.com/api/pricing. The setting
BROWSA_MODEL_PRICES replaces and adds prices. Input that a provider serves from its cache counts as any other input.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.jobs.tasks.llm.names import ModelName

MAX_PRICE = 100_000
_MILLION = 1_000_000
# Dated versions of a model cost what the model costs: claude-haiku-4-5-20251001, gpt-4.1-2025-04-14.
_VERSION = re.compile(r"-(?:20[0-9]{6}|20[0-9]{2}-[0-9]{2}-[0-9]{2}|latest)$")

# A model's input and output tokens.
Tokens = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """In US dollars for a million tokens."""

    input: float
    output: float

    def cost(self, tokens: Tokens) -> float:
        return round((tokens[0] * self.input + tokens[1] * self.output) / _MILLION, 6)


# The name of a model, with its provider -> its price.
PriceTable = Mapping[str, ModelPrice]

DEFAULTS: PriceTable = {
    **{f"anthropic:claude-opus-4-{minor}": ModelPrice(5, 25) for minor in (5, 6, 7)},
    **{f"anthropic:claude-opus-4{minor}": ModelPrice(15, 75) for minor in ("", "-0", "-1")},
    **{f"anthropic:claude-sonnet-4{minor}": ModelPrice(3, 15) for minor in ("", "-0", "-5", "-6")},
    "anthropic:claude-haiku-4-5": ModelPrice(1, 5),
    "anthropic:claude-3-7-sonnet": ModelPrice(3, 15),
    "anthropic:claude-3-5-haiku": ModelPrice(0.8, 4),
    "openai:gpt-4.1": ModelPrice(2, 8),
    "openai:gpt-4.1-mini": ModelPrice(0.4, 1.6),
    "openai:gpt-4.1-nano": ModelPrice(0.1, 0.4),
    "openai:gpt-4o": ModelPrice(2.5, 10),
    "openai:gpt-4o-mini": ModelPrice(0.15, 0.6),
    "openai:gpt-5": ModelPrice(1.25, 10),
    "openai:gpt-5-mini": ModelPrice(0.25, 2),
    "openai:gpt-5-nano": ModelPrice(0.05, 0.4),
    "openai:gpt-5.1": ModelPrice(1.25, 10),
    "openai:gpt-5.2": ModelPrice(1.75, 14),
    "openai:o3": ModelPrice(2, 8),
    "openai:o3-mini": ModelPrice(1.1, 4.4),
    "openai:o4-mini": ModelPrice(1.1, 4.4),
}


def price_of(name: ModelName, table: PriceTable) -> ModelPrice | None:
    """The price of a model, or of the model that it is a dated version of. None if it is not known."""
    return table.get(str(name)) or table.get(_VERSION.sub("", str(name)))


def parse(text: str) -> PriceTable:
    """The defaults with the operator's changes: JSON `{"openai:my-model": {"input": 0.2, "output": 0.8}}`; null removes
    a model. Raises ValueError.
    """
    changes = json.loads(text)
    if not isinstance(changes, dict):
        raise ValueError("it must be an object")
    table: dict[str, ModelPrice | None] = dict(DEFAULTS)
    for name, price in changes.items():
        table[str(ModelName.parse(name))] = None if price is None else _parse_price(name, price)
    return {name: price for name, price in table.items() if price is not None}


def _parse_price(name: str, price: Any) -> ModelPrice:
    if not isinstance(price, dict) or set(price) != {"input", "output"}:
        raise ValueError(f'{name} must be {{"input": …, "output": …}} or null')
    for value in price.values():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not 0 <= value <= MAX_PRICE:
            raise ValueError(f"{name}: a price must be a number from 0 to {MAX_PRICE}")
    return ModelPrice(price["input"], price["output"])
