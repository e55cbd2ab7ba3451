"""The scripted model's answers: to each step of a task, and to the other prompts of browser-use."""

from __future__ import annotations

import re

import pytest

from tests.fakes.model import (
    Act,
    AskHuman,
    Click,
    Done,
    Extract,
    Failing,
    Navigate,
    Overloaded,
    ScriptedModel,
    Step,
    Type,
    Wait,
    typeable,
)
from tests.scripted_model.conftest import AGENT_OUTPUT, Caller, actions, step


async def test_the_prompt_says_which_step_answers(model: ScriptedModel, caller: Caller) -> None:
    model.play("go", [Navigate("http://a.test"), AskHuman("Which?"), Wait(2), Done("Fine.", success=False)])

    told = [await actions(caller, "go", step(number)) for number in (4, 1, 2, 2, 3, 9)]

    assert told == [
        [{"done": {"text": "Fine.", "success": False}}],
        [{"navigate": {"url": "http://a.test", "new_tab": False}}],
        [{"ask_human": {"question": "Which?"}}],
        [{"ask_human": {"question": "Which?"}}],
        [{"wait": {"seconds": 2}}],
        [{"done": {"text": "Fine.", "success": False}}],
    ]


@pytest.mark.parametrize(
    ("action", "told"),
    [
        (Click("Go home"), {"click": {"index": 22}}),
        (Click("at once"), {"click": {"index": 23}}),
        (Click("enter the site"), {"click": {"index": 21}}),
        (Click("Close"), {"click": {"index": 30}}),
        (Click("Start"), {"click": {"index": 22}}),
        (Type("Email", "a@b.test"), {"input": {"index": 4, "text": "a@b.test"}}),
        (Type("mail", "a@b.test"), {"input": {"index": 4, "text": "a@b.test"}}),
        (Type("Your word, please", "sesame"), {"input": {"index": 5, "text": "sesame"}}),
        (Type("word", "sesame"), {"input": {"index": 5, "text": "sesame"}}),
        (Act({"scroll": {"down": True}}), {"scroll": {"down": True}}),
        (Done(data={"price": 3}), {"done": {"data": {"price": 3}, "success": True}}),
    ],
    ids=repr,
)
async def test_an_action_finds_its_element(model: ScriptedModel, caller: Caller, action: Step, told: object) -> None:
    model.play("act", [action])
    assert await actions(caller, "act", step(1)) == [told]


async def test_an_answer_has_what_the_schema_has(model: ScriptedModel, caller: Caller) -> None:
    model.play("login", [[Type("Email", "a"), Click("Close", goal="Be gone")]])

    told = await caller.data("login", step(1), AGENT_OUTPUT)

    assert told.keys() == {"memory", "next_goal", "action"}
    assert told["next_goal"] == "Be gone"
    assert [next(iter(action)) for action in told["action"]] == ["input", "click"]


async def test_a_step_may_be_a_function_of_the_prompt(model: ScriptedModel, caller: Caller) -> None:
    model.play("read", [lambda prompt: Done(re.search("Go home (.*)", prompt)[1] + str(typeable(prompt, "Email")))])
    assert await actions(caller, "read", step(1)) == [{"done": {"text": "at once4", "success": True}}]


@pytest.mark.parametrize(
    ("impossible", "because"),
    [
        (Click("Buy"), "'buy' is not on the page"),
        ([Type("Email", "a"), Type("Close", "a")], "'close' is not on the page"),
        (lambda prompt: Done(prompt[9999999]), "index out of range"),
    ],
)
async def test_what_cannot_be_done_ends_the_task(
    model: ScriptedModel, caller: Caller, impossible: Step, because: str
) -> None:
    model.play("lost", [impossible])
    [told] = await actions(caller, "lost", step(1))
    assert told["done"]["success"] is False
    assert because in told["done"]["text"]


async def test_the_last_step_that_is_allowed_ends_the_task(model: ScriptedModel, caller: Caller) -> None:
    model.play("loop", [Wait(1)])
    model.play("end", [Done("There.")])
    last = step(9) + 'Your only tool available is the "done" tool. No other tool is available.'
    assert (await actions(caller, "loop", last))[0]["done"]["success"] is False
    assert (await actions(caller, "end", last))[0]["done"]["text"] == "There."


async def test_pages_are_read(model: ScriptedModel, caller: Caller) -> None:
    def read(prompt: str) -> str:
        return prompt.rpartition(" ")[2]

    model.play("read", [Navigate("http://a.test"), [Extract("the price", "3 dollars")], Extract("its age", read)])

    asked = "<query>\n{}\n</query>\n<webpage_content>\nIt is 40"
    assert await caller.text("read", asked.format("the price")) == "3 dollars"
    assert await caller.text("read", asked.format("its age")) == "40"
    assert await caller.text("read", asked.format("its name")) == "Nothing was found."


async def test_pages_are_read_under_a_schema(model: ScriptedModel, caller: Caller) -> None:
    model.play("read", [Extract("the price", {"price": 3})])
    schema = {"type": "object", "properties": {"price": {"type": "number"}}}
    assert await caller.data("read", "<query>\nthe price\n</query>", schema) == {"price": 3}


async def test_reading_may_fail_like_a_step(model: ScriptedModel, caller: Caller) -> None:
    model.play("read", [Extract("it", Failing(Overloaded(), then="Here."))])
    with pytest.raises(caller.errors.APIStatusError):
        await caller.text("read", "<query>\nit\n</query>")
    assert await caller.text("read", "<query>\nit\n</query>") == "Here."


async def test_the_judge_is_content(model: ScriptedModel, caller: Caller) -> None:
    model.play("go", [Done()])
    schema = {"type": "object", "properties": {"verdict": {"type": "boolean"}}}
    assert (await caller.data("go", "Judge this.", schema))["verdict"] is True
    assert [(seen.kind, seen.step) for seen in model.requests] == [("judge", None)]
