"""Builds the events and the result of a task, and parses its final answer. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from apps.jobs.tasks.llm.prices import ModelPrice, Tokens

if TYPE_CHECKING:
    from apps.jobs.tasks.browser_agent import Step

MAX_URL = 2048
MAX_TITLE = 300
MAX_TEXT = 4000
MAX_ANSWER = 100_000
MAX_ITEMS = 50
MAX_REASON = 500

Redact = Callable[[str], str]

_FENCED = re.compile(r"^```[a-zA-Z]*\s*\n(.*?)\n?```$", re.DOTALL)


def step_event(step: Step, *, screenshot_url: str | None, redact: Redact) -> dict[str, Any]:
    """The data of a `step` event, with bounded sizes and without secrets."""

    def text(value: str, most: int) -> str:
        return clean(redact(value))[:most]

    return {
        "url": text(step.url, MAX_URL),
        "title": text(step.title, MAX_TITLE),
        "goal": text(step.goal, MAX_TEXT),
        "actions": [_bounded(action, lambda value: text(value, MAX_TEXT)) for action in step.actions],
        "result": text(step.result, MAX_TEXT) or None,
        "error": text(step.error, MAX_TEXT) or None,
        "tokens": {"input": step.input_tokens, "output": step.output_tokens},
        "duration_ms": step.duration_ms,
        "screenshot_url": screenshot_url,
    }


def clean(text: str) -> str:
    """Removes what a JSON column can't hold: NUL and unpaired surrogates."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def _bounded(value: Any, text: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return {text(str(name)): _bounded(inner, text) for name, inner in list(value.items())[:MAX_ITEMS]}
    if isinstance(value, list):
        return [_bounded(inner, text) for inner in value[:MAX_ITEMS]]
    return value


def unusable(count: int, error: str, *, said: str) -> str:
    """The error message after `count` answers that are not a step, in one sentence. `error` is a client library's text,
    often of several lines; `said` is the beginning of the last answer.
    """
    reason = " ".join(error.partition("For further information")[0].split())[:MAX_REASON].rstrip(" .")
    quoted = f"; the last one begins: {' '.join(said.split())}" if said else ""
    return f"The model's answers can't be used, {count} in a row: {reason}{quoted}"


class InvalidAnswer(ValueError):
    """The answer does not fit `output_schema`. The message says why; the model and the user read it."""


def parse_answer(answer: str) -> Any:
    """The answer as JSON. Raises InvalidAnswer."""
    text = answer.strip()
    if fenced := _FENCED.match(text):
        text = fenced[1]
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidAnswer(f"it is not JSON: {error}") from error


def prompt(task: str, schema: dict[str, Any] | None) -> str:
    """The task, with the schema of its answer, as the model gets it."""
    if schema is None:
        return task
    return (
        f"{task}\n\nYour final answer (the text of the done action) must be JSON that fits this JSON Schema, and"
        f" nothing else: {json.dumps(schema, ensure_ascii=False)}"
    )


def over_budget(tokens: Tokens, *, price: ModelPrice | None, limit: float) -> str | None:
    """Why the model has cost more than `limit`, the task's `max_cost_usd`; None if it has not."""
    if price is None:  # it was known when the task was given
        return "The operator has removed the price of the model, so max_cost_usd can't be kept."
    cost = price.cost(tokens)
    return f"The model has cost {cost:g} USD, more than max_cost_usd ({limit:g} USD)." if cost > limit else None


def result(
    *,
    answer: str | None,
    success: bool,
    steps: int,
    trust_score: int,
    tokens: Tokens,
    price: ModelPrice | None,
) -> dict[str, Any]:
    """The job's result, without the `output` of a task that has a schema."""
    return {
        "final_result": None if answer is None else clean(answer)[:MAX_ANSWER],
        "success": success,
        "trust_score": trust_score,
        "steps_taken": steps,
        "tokens": {"input": tokens[0], "output": tokens[1]},
        "cost_usd": None if price is None else price.cost(tokens),
    }
