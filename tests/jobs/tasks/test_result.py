"""The result of a task, from any text of its model and its pages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apps.jobs.tasks import result
from apps.jobs.tasks.llm.prices import ModelPrice
from apps.jobs.tasks.result import InvalidAnswer


class Step:
    """The fields of `browser_agent.Step`, without that library."""

    def __init__(self, **fields: Any) -> None:
        defaults = {
            "url": "http://site.test/",
            "title": "T",
            "goal": "",
            "actions": [],
            "result": "",
            "error": "",
            "input_tokens": 1,
            "output_tokens": 2,
            "duration_ms": 3,
        }
        self.__dict__.update({**defaults, **fields})


def event(**fields: Any) -> dict[str, Any]:
    step: Any = Step(**fields)
    return result.step_event(step, screenshot_url=None, redact=lambda text: text.replace("sk-1", "[the key]"))


def test_a_step_is_shown_without_secrets() -> None:
    told = event(
        url="http://site.test/?k=sk-1",
        title="sk-1",
        goal="use sk-1",
        result="it said sk-1",
        error="sk-1 was wrong",
        actions=[{"input": {"text": "sk-1", "sk-1": [{"deep": "sk-1"}]}}],
    )

    assert "sk-1" not in json.dumps(told)
    assert told["actions"] == [{"input": {"text": "[the key]", "[the key]": [{"deep": "[the key]"}]}}]
    assert told["tokens"] == {"input": 1, "output": 2}


def test_a_step_is_bounded_and_fits_into_a_database() -> None:
    told = event(
        title="t" * 1000,
        goal="g" * 10_000,
        result="a\x00b\ud800",
        actions=[{"write_file": {"content": "c" * 100_000, "list": list(range(1000))}}],
    )

    assert (len(told["title"]), len(told["goal"])) == (result.MAX_TITLE, result.MAX_TEXT)
    assert told["result"] == "ab?"
    assert len(json.dumps(told)) < 15_000


def test_nothing_is_null() -> None:
    assert (event()["result"], event()["error"]) == (None, None)


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        (' [1, "b"] \n', [1, "b"]),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ("```\nnull\n```", None),
    ],
)
def test_an_answer_in_json_is_read(answer: str, value: Any) -> None:
    assert result.parse_answer(answer) == value


@pytest.mark.parametrize("answer", ["", "Ada is here.", '{"a": 1} and more', "[" * 100_000])
def test_any_other_is_not(answer: str) -> None:
    with pytest.raises(InvalidAnswer, match="not JSON"):
        result.parse_answer(answer)


def test_answers_that_are_no_steps_are_described_in_one_sentence() -> None:
    error = "1 validation error\n  Invalid JSON [type=x]\n    For further information visit https://errors.test"

    assert result.unusable(3, error, said="I'm\n sorry.") == (
        "The model's answers can't be used, 3 in a row: 1 validation error Invalid JSON [type=x];"
        " the last one begins: I'm sorry."
    )
    assert result.unusable(3, "no call.", said="") == "The model's answers can't be used, 3 in a row: no call"
    assert len(result.unusable(3, "x" * 9000, said="y" * 300)) < 900


def test_the_model_gets_the_schema() -> None:
    assert result.prompt("Find it.", None) == "Find it."
    assert '{"type": "integer"}' in result.prompt("Find it.", {"type": "integer"})


def test_a_result_is_bounded() -> None:
    priced = ModelPrice(2, 8)
    plain = result.result(answer="x" * 200_000, success=True, steps=3, trust_score=900, tokens=(5, 6), price=priced)

    assert len(plain["final_result"]) == result.MAX_ANSWER
    assert (plain["steps_taken"], plain["trust_score"], plain["tokens"]) == (3, 900, {"input": 5, "output": 6})
    assert plain["cost_usd"] == 0.000058


def test_the_cost_of_a_model_without_a_price_is_not_known() -> None:
    assert result.result(answer="", success=True, steps=0, trust_score=0, tokens=(5, 6), price=None)["cost_usd"] is None


@pytest.mark.parametrize(("limit", "over"), [(0.000058, False), (0.000057, True), (1.0, False), (1e-9, True)])
def test_a_task_is_over_its_budget_above_it(limit: float, over: bool) -> None:
    problem = result.over_budget((5, 6), price=ModelPrice(2, 8), limit=limit)

    assert (problem is not None) == over
    assert problem is None or "5.8e-05 USD, more than max_cost_usd" in problem


def test_a_budget_without_a_price_ends_the_task() -> None:
    assert "removed the price" in (result.over_budget((0, 0), price=None, limit=5.0) or "")
