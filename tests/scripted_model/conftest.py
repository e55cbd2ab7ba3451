"""The providers' own clients, as browser-use uses them, and the scripted model that they ask.

The clients are imported when they are first needed: that takes seconds, and every worker of a run collects these files.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tests.fakes.model import ScriptedModel

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
