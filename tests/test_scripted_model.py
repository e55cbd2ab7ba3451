"""The scripted model, asked by the providers' own clients.

Those are imported when they are asked for: it takes seconds, and every process of a run collects this file.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.fakes.model import (
    Act,
    Always,
    AskHuman,
    BadRequest,
    Click,
    Done,
    Extract,
    Failing,
    Failure,
    Garbage,
    Hang,
    HangUp,
    Malformed,
    Navigate,
    OutOfCredit,
    Overloaded,
    RateLimited,
    ScriptedModel,
    ServerError,
    Step,
    Type,
    Unauthorized,
    Wait,
    typeable,
)
from tests.patience import PATIENCE

KEY = "sk-test-0123456789abcdef"
PAGE = """<browser_state>
Interactive elements:
[Start of page]
Sign in
[19]<label />
	Email:
	|SHADOW(open)|[4]<input id=e name=mail />
|SHADOW(open)|*[5]<input placeholder=Your word, please name=word />
|SHADOW(open)|[21]<input type=submit value=Enter the site />
*[22]<a title=Start />
	Go
	home
[23]<a />
	Go home at once
|scroll element[24]<div role=textbox /> (0.0 pages above, 1.2 pages below)
[30]<button aria-label=Close />
[End of page]
</browser_state>
"""
AGENT_OUTPUT = {
    "type": "object",
    "properties": {"memory": {"type": "string"}, "next_goal": {"type": "string"}, "action": {"type": "array"}},
}


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel() as model:
        yield model


class Anthropic:
    """Asks as browser-use's ChatAnthropic does."""

    name = "anthropic"
    prefix = "claude"

    def __init__(self, model: ScriptedModel) -> None:
        import anthropic

        self.errors = anthropic
        plain = anthropic.DefaultAsyncHttpxClient(verify=False)  # reading authorities takes longer than a test
        self.client = anthropic.AsyncAnthropic(api_key=KEY, base_url=model.base_url, max_retries=0, http_client=plain)

    async def text(self, script: str, prompt: str, **options: Any) -> str:
        answer = await self._ask(script, prompt, **options)
        assert answer.stop_reason == "end_turn"
        return answer.content[0].text

    async def data(self, script: str, prompt: str, schema: dict[str, Any]) -> Any:
        tool = {"name": "Output", "input_schema": schema}
        answer = await self._ask(script, prompt, tools=[tool], tool_choice={"type": "tool", "name": "Output"})
        assert (answer.stop_reason, answer.content[0].name) == ("tool_use", "Output")
        assert answer.id.startswith("msg_")
        assert answer.content[0].id.startswith("toolu_")
        assert answer.usage.input_tokens > len(prompt) // 4
        return answer.content[0].input

    async def _ask(self, script: str, prompt: str, **options: Any) -> Any:
        said = [{"role": "user", "content": [{"type": "text", "text": prompt}]}]
        return await self.client.messages.create(
            model=f"claude-{script}", max_tokens=1000, system="You browse.", messages=said, **options
        )


class OpenAI:
    """Asks as browser-use's ChatOpenAI does."""

    name = "openai"
    prefix = "gpt"

    def __init__(self, model: ScriptedModel, *, path: str = "/v1") -> None:
        import openai

        self.errors = openai
        plain = openai.DefaultAsyncHttpxClient(verify=False)
        self.client = openai.AsyncOpenAI(api_key=KEY, base_url=model.base_url + path, max_retries=0, http_client=plain)

    async def text(self, script: str, prompt: str, **options: Any) -> str:
        answer = await self._ask(script, prompt, **options)
        assert answer.choices[0].finish_reason == "stop"
        return answer.choices[0].message.content

    async def data(self, script: str, prompt: str, schema: dict[str, Any]) -> Any:
        wanted = {"name": "agent_output", "strict": True, "schema": schema}
        answer = await self._ask(script, prompt, response_format={"type": "json_schema", "json_schema": wanted})
        assert answer.id.startswith("chatcmpl-")
        assert answer.usage.prompt_tokens > len(prompt) // 4
        return json.loads(answer.choices[0].message.content)

    async def _ask(self, script: str, prompt: str, **options: Any) -> Any:
        said = [{"role": "system", "content": "You browse."}, {"role": "user", "content": prompt}]
        return await self.client.chat.completions.create(model=f"gpt-{script}", messages=said, **options)


Caller = Anthropic | OpenAI


@pytest_asyncio.fixture(params=[Anthropic, OpenAI])
async def caller(request: pytest.FixtureRequest, model: ScriptedModel) -> AsyncIterator[Caller]:
    caller = request.param(model)
    async with caller.client:
        yield caller


def step(number: int, page: str = PAGE, *, of: int = 9) -> str:
    """A prompt of browser-use."""
    return (
        f"<agent_history></agent_history>\n{page}<step_info>Step{number} maximum:{of}\nToday:2026-01-01</step_info>\n"
    )


async def actions(caller: Caller, script: str, prompt: str) -> Any:
    return (await caller.data(script, prompt, AGENT_OUTPUT))["action"]


# --- Steps -------------------------------------------------------------------------------------------------------
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


# --- What is no step ---------------------------------------------------------------------------------------------
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


# --- Failures ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("failure", "name", "statuses"),
    [
        (Unauthorized(), "AuthenticationError", (401, 401)),
        (OutOfCredit(), "APIStatusError", (400, 429)),
        (RateLimited(), "RateLimitError", (429, 429)),
        (Overloaded(), "APIStatusError", (529, 503)),
        (ServerError(), "InternalServerError", (500, 500)),
        (BadRequest("too long"), "BadRequestError", (400, 400)),
    ],
    ids=repr,
)
async def test_a_failure_is_the_providers_own(
    model: ScriptedModel, caller: Caller, failure: Failure, name: str, statuses: tuple[int, int]
) -> None:
    model.play("fail", [Always(failure)])
    for _ in range(2):
        with pytest.raises(getattr(caller.errors, name)) as caught:
            await actions(caller, "fail", step(1))
        assert caught.value.status_code == statuses[caller.name == "openai"]
        assert "retry-after" not in caught.value.response.headers
        assert caught.value.request_id.startswith("req_")
        assert caught.value.body["error" if caller.name == "anthropic" else "type"]


async def test_each_attempt_uses_up_one_failure(model: ScriptedModel, caller: Caller) -> None:
    model.play(
        "busy", [Wait(1), Failing(RateLimited(retry_after=1.5), Overloaded(), then=lambda prompt: Done("There."))]
    )

    assert await actions(caller, "busy", step(1)) == [{"wait": {"seconds": 1}}]
    with pytest.raises(caller.errors.RateLimitError) as caught:
        await actions(caller, "busy", step(2))
    assert caught.value.response.headers["retry-after"] == "1.5"
    with pytest.raises(caller.errors.APIStatusError):
        await actions(caller, "busy", step(2))
    for _ in range(2):
        assert await actions(caller, "busy", step(2)) == [{"done": {"text": "There.", "success": True}}]

    caller.client = caller.client.with_options(api_key="sk-of-somebody-else")
    with pytest.raises(caller.errors.RateLimitError):
        await actions(caller, "busy", step(2))


async def test_the_key_is_repeated_masked_or_not(model: ScriptedModel) -> None:
    model.play("masked", [Always(Unauthorized())])
    model.play("open", [Always(Unauthorized(echo=True))])
    for caller in (Anthropic(model), OpenAI(model)):
        async with caller.client:
            with pytest.raises(caller.errors.AuthenticationError) as masked:
                await caller.text("masked", step(1))
            with pytest.raises(caller.errors.AuthenticationError) as whole:
                await caller.text("open", step(1))
        assert KEY not in str(masked.value)
        assert KEY in str(whole.value)
    assert "sk-test-************cdef" in str(masked.value)


async def test_prose_instead_of_an_action(model: ScriptedModel, caller: Caller) -> None:
    model.play("chat", [Always(Garbage("No."))])
    assert await caller.text("chat", step(1)) == "No."


async def test_a_body_that_is_no_json(model: ScriptedModel, caller: Caller) -> None:
    model.play("broken", [Always(Malformed())])
    with pytest.raises((json.JSONDecodeError, caller.errors.APIResponseValidationError)):
        await caller.text("broken", step(1))


async def test_a_connection_that_is_closed(model: ScriptedModel, caller: Caller) -> None:
    model.play("gone", [Failing(HangUp(), then=Done("Back."))])
    with pytest.raises(caller.errors.APIConnectionError):
        await actions(caller, "gone", step(1))
    assert await actions(caller, "gone", step(1)) == [{"done": {"text": "Back.", "success": True}}]


async def test_a_client_that_loses_patience(model: ScriptedModel, caller: Caller) -> None:
    model.play("silent", [Always(Hang())])
    caller.client = caller.client.with_options(timeout=0.2)
    with pytest.raises(caller.errors.APITimeoutError):
        await caller.text("silent", step(1))


async def test_closing_ends_what_hangs() -> None:
    with ScriptedModel() as model:
        model.play("silent", [Always(Hang())])
        caller = OpenAI(model)
        asking = asyncio.create_task(caller.text("silent", step(1)))
        await asyncio.to_thread(model.wait_for, lambda seen: len(seen) == 1)
        assert not asking.done()
    with pytest.raises(caller.errors.APIConnectionError):
        await asking
    await caller.client.close()


# --- Who asks, and how -------------------------------------------------------------------------------------------
async def test_only_scripts_are_models(model: ScriptedModel, caller: Caller) -> None:
    model.play("known", [Done()])
    for name in ("unknown", ""):
        with pytest.raises(caller.errors.NotFoundError, match=f"{caller.prefix}-{name}"):
            await caller.text(name, step(1))
    assert model.requests == []


async def test_a_model_is_of_one_provider(model: ScriptedModel) -> None:
    model.play("known", [Done()])
    caller = OpenAI(model)
    async with caller.client:
        with pytest.raises(caller.errors.NotFoundError):
            said = [{"role": "user", "content": "Hi"}]
            await caller.client.chat.completions.create(model="claude-known", messages=said)


async def test_openai_clients_may_leave_the_version_out(model: ScriptedModel) -> None:
    model.play("go", [Done("Yes.")])
    caller = OpenAI(model, path="")
    async with caller.client:
        assert await actions(caller, "go", step(1)) == [{"done": {"text": "Yes.", "success": True}}]


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        ("/v1/messages", {"x-api-key": KEY}, b"{", 400),
        ("/v1/messages", {"x-api-key": KEY}, b'{"model": "claude-go", "messages": []}', 400),
        ("/v1/messages", {}, b'{"model": "claude-go", "messages": [], "max_tokens": 9}', 401),
        ("/v1/chat/completions", {"Authorization": f"Bearer {KEY}"}, b'{"model": "gpt-go"}', 400),
        ("/v1/chat/completions", {}, b'{"model": "gpt-go", "messages": []}', 401),
        ("/v1/v1/messages", {"x-api-key": KEY}, b"{}", 404),
    ],
)
def test_what_no_client_of_theirs_would_send(
    model: ScriptedModel, path: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    model.play("go", [Done()])
    reply = httpx.post(model.base_url + path, headers=headers, content=body, timeout=PATIENCE)
    assert reply.status_code == status


async def test_requests_are_remembered(model: ScriptedModel) -> None:
    model.play("go", [Wait(1)])
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    before = time.monotonic()
    async with Anthropic(model).client as client:
        said = [{"role": "user", "content": [{"type": "text", "text": step(3)}, picture]}]
        await client.messages.create(model="claude-go", max_tokens=9, system="You browse.", messages=said)

    [seen] = model.wait_for(lambda seen: len(seen) == 1)
    assert (seen.provider, seen.model, seen.script, seen.kind) == ("anthropic", "claude-go", "go", "step")
    assert (seen.step, seen.api_key, seen.has_image, seen.prompt) == (3, KEY, True, step(3))
    assert before <= seen.at <= time.monotonic()
    with pytest.raises(TimeoutError):
        model.wait_for(lambda seen: len(seen) == 2, seconds=0.01)


async def test_it_may_think(model: ScriptedModel, caller: Caller) -> None:
    model.play("go", [Done()])
    model.think_seconds = 0.2
    before = time.monotonic()
    await caller.text("go", step(1))
    assert time.monotonic() - before >= 0.2
