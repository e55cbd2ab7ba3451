"""Which provider a model's name means."""

from __future__ import annotations

import pytest

from apps.jobs.tasks.llm.names import ModelName


@pytest.mark.parametrize(
    ("text", "provider", "model"),
    [
        ("anthropic:claude-haiku-4-5", "anthropic", "claude-haiku-4-5"),
        ("Anthropic:claude-haiku-4-5", "anthropic", "claude-haiku-4-5"),
        ("openai:gpt-4o-mini", "openai", "gpt-4o-mini"),
        ("claude-opus-4-7", "anthropic", "claude-opus-4-7"),
        ("gpt-4.1-mini", "openai", "gpt-4.1-mini"),
        ("openai:claude-through-a-gateway", "openai", "claude-through-a-gateway"),
        ("meta-llama/llama-3.3-70b:free", "openai", "meta-llama/llama-3.3-70b:free"),
        ("openai:ft:gpt-4o:acme::a1", "openai", "ft:gpt-4o:acme::a1"),
    ],
)
def test_a_name_that_can_be_used(text: str, provider: str, model: str) -> None:
    name = ModelName.parse(text)

    assert (name.provider, name.model) == (provider, model)
    assert ModelName.parse(str(name)) == name


@pytest.mark.parametrize("text", ["", ":", "anthropic:", "openai: gpt", "gpt 4", "gpt\n4", "-gpt", "g" * 201, "gpt-ü"])
def test_a_name_that_cannot(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be provider:model|at most"):
        ModelName.parse(text)
