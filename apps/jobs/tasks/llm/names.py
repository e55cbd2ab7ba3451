"""Parses the name of a model, and finds its provider. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

Provider = Literal["anthropic", "openai"]
PROVIDERS: tuple[Provider, ...] = get_args(Provider)

DEFAULT = "gpt-4.1-mini"  # given by the specification
MAX_LENGTH = 200
# The characters in use by providers and compatible gateways: vendor/model, tags, fine-tunes.
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")


@dataclass(frozen=True, slots=True)
class ModelName:
    provider: Provider
    model: str

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """`provider:model`, or a bare name: `claude-…` is Anthropic's, any other OpenAI's. Raises ValueError."""
        if len(text) > MAX_LENGTH:
            raise ValueError(f"may have {MAX_LENGTH} characters at most")
        prefix, colon, rest = text.partition(":")
        for provider in PROVIDERS:
            if colon and prefix.lower() == provider:
                return cls(provider, _checked(rest))
        return cls("anthropic" if text.startswith("claude-") else "openai", _checked(text))

    def __str__(self) -> str:
        return f"{self.provider}:{self.model}"


def _checked(model: str) -> str:
    if not _MODEL.fullmatch(model):
        raise ValueError("must be provider:model, such as anthropic:claude-haiku-4-5 or openai:gpt-4.1-mini")
    return model
