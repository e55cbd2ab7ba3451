"""The way to a provider: who may be reached, what is sent, what is tried again, what is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
from django.conf import LazySettings

from addresses.policy import parse_allow_list
from apps.jobs.tasks.llm.names import Provider
from apps.jobs.tasks.llm.transport import RetryingTransport
from tests.fakes.model import (
    Always,
    Done,
    Failing,
    Failure,
    Hang,
    HangUp,
    Overloaded,
    RateLimited,
    Raw,
    ScriptedModel,
    ServerError,
    Unauthorized,
)

KEY = "sk-test-0123456789abcdef"


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel() as model:
        yield model


@pytest.fixture(autouse=True)
def _may_be_reached(settings: LazySettings, model: ScriptedModel) -> None:
    settings.ALLOW_ADDRESSES = parse_allow_list(f"127.0.0.1:{model.port}")


class Caller:
    """Asks a scripted model as a task does; its pauses take no time."""

    def __init__(self, model: ScriptedModel, provider: Provider = "anthropic", **options: Any) -> None:
        self.model, self.provider = model, provider
        self.pauses: list[float] = []
        self.transport = RetryingTransport(provider, KEY, sleep=self._sleep, **options)
        self.http = httpx2.AsyncClient(transport=self.transport, timeout=None)

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def close(self) -> None:
        await self.http.aclose()
        await asyncio.sleep(0)  # an aborted connection is closed in the loop's next turn, and the test's loop ends

    async def ask(self, script: str, base_url: str = "") -> Any:
        url, messages = base_url or self.model.base_url, [{"role": "user", "content": "<step_info>Step1 maximum:5"}]
        options: dict[str, Any] = {"api_key": "none", "base_url": url, "http_client": self.http, "max_retries": 0}
        if self.provider == "anthropic":
            from anthropic import AsyncAnthropic  # here, as importing it takes a second of every process that collects

            claude = AsyncAnthropic(**options).messages
            return await claude.create(model=f"claude-{script}", max_tokens=10, messages=messages)  # type: ignore[arg-type]
        from openai import AsyncOpenAI

        gpt = AsyncOpenAI(**options).chat.completions
        return await gpt.create(model=f"gpt-{script}", messages=messages)  # type: ignore[arg-type]


@pytest.fixture
async def caller(model: ScriptedModel) -> AsyncIterator[Caller]:
    caller = Caller(model)
    yield caller
    await caller.close()


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
async def test_the_callers_key_is_wire_request_and_nothing_of_the_environments(
    model: ScriptedModel, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "the operator's")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    model.play("hello", [Done()])
    caller = Caller(model, provider)

    await caller.ask("hello")

    assert [seen.api_key for seen in model.requests] == [KEY]
    sent = caller.transport._wire_request(
        httpx2.Request("POST", model.base_url, headers={"Authorization": "theirs", "OpenAI-Organization": "theirs"}),
        b"",
    )
    assert b"theirs" not in b"".join(name + value for name, value in sent.headers)
    await caller.close()


async def test_what_may_pass_is_tried_again(model: ScriptedModel, caller: Caller) -> None:
    model.play("shaky", [Failing(HangUp(), Overloaded(), ServerError(), then=Done())])

    await caller.ask("shaky")

    assert len(model.requests) == 4
    assert len(caller.pauses) == 3 and caller.transport.failure is None


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
async def test_the_library_reads_a_repaired_answer(model: ScriptedModel, provider: Provider) -> None:
    said = {"content": "<think>Hm.</think>Hello.", "role": "assistant"}
    both = {"choices": [{"message": said}], "content": [{"type": "text", "text": said["content"]}], "usage": None}
    model.play("local", [Always(Raw(json.dumps(both).encode(), content_type="text/plain"))])
    caller = Caller(model, provider)

    told = await caller.ask("local")

    assert (told.content[0].text if provider == "anthropic" else told.choices[0].message.content) == "Hello."
    usage = told.usage
    assert (usage.input_tokens if provider == "anthropic" else usage.prompt_tokens) == 0
    assert (caller.transport.failure, caller.transport.said) == (None, said["content"])
    await caller.close()


async def test_a_limit_is_waited_for_as_long_as_the_provider_says(model: ScriptedModel, caller: Caller) -> None:
    model.play("limited", [Failing(RateLimited(retry_after=20), RateLimited(retry_after=30), then=Done())])

    await caller.ask("limited")

    assert caller.pauses == [20, 30]


@pytest.mark.parametrize(
    ("failure", "code", "attempts"),
    [
        (Unauthorized(), "INVALID_API_KEY", 1),
        (RateLimited(), "RATE_LIMIT", 6),
        (RateLimited(retry_after=4000), "RATE_LIMIT", 1),
        (Overloaded(), "LLM_ERROR", 4),
        (HangUp(), "LLM_ERROR", 4),
        (Raw(b'{"error": {"code": 429, "message": "Slow down."}}'), "RATE_LIMIT", 6),
        (Raw(b'{"error": {"code": 401, "message": "No."}, "choices": null}'), "INVALID_API_KEY", 1),
        (Raw(b'{"id": "1", "choices": null, "content": null}'), "LLM_ERROR", 4),
        (Raw(b'{"id": "1", "cho'), "LLM_ERROR", 4),
        (Raw(b"<html><title>Sign in</title>", content_type="text/html"), "LLM_ERROR", 1),
        (Raw(b"data: {}\n\n", content_type="text/event-stream"), "LLM_ERROR", 1),
        (Raw(b"<html><title>Blocked</title>", 403, "text/html"), "LLM_ERROR", 1),
    ],
)
@pytest.mark.parametrize("provider", ["anthropic", "openai"])
async def test_what_does_not_pass_is_given_up(
    model: ScriptedModel, provider: Provider, failure: Failure, code: str, attempts: int
) -> None:
    model.play("never", [Always(failure)])
    caller = Caller(model, provider)

    with pytest.raises(Exception, match=r"\w"):
        await caller.ask("never")

    assert len(model.requests) == attempts
    assert caller.transport.failure is not None and caller.transport.failure.code == code
    await caller.close()


async def test_a_provider_that_says_nothing_is_given_up_after_a_time(model: ScriptedModel) -> None:
    model.play("silent", [Always(Hang())])
    caller = Caller(model, seconds=0.1)

    with pytest.raises(Exception, match=r"\w"):
        await caller.ask("silent")

    assert caller.transport.failure is not None
    assert caller.transport.failure.message == "The provider gave no answer within 0.1 s."
    await caller.close()


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
async def test_a_key_that_the_provider_repeats_is_not_told(model: ScriptedModel, provider: Provider) -> None:
    model.play("gossip", [Always(Unauthorized(echo=True))])
    caller = Caller(model, provider)

    with pytest.raises(Exception, match=r"\w"):
        await caller.ask("gossip")

    assert caller.transport.failure is not None
    assert KEY not in caller.transport.failure.message and "[the key]" in caller.transport.failure.message
    await caller.close()


@pytest.mark.parametrize("cut", range(0, 300, 20))
async def test_no_part_of_a_key_in_an_invalid_answer_is_shown(model: ScriptedModel, caller: Caller, cut: int) -> None:
    model.play("gossip", [Always(Raw(b"x" * cut + KEY.encode() * 20, content_type="text/plain"))])

    with pytest.raises(Exception, match=r"\w"):
        await caller.ask("gossip")

    assert caller.transport.failure is not None
    assert "sk-" not in caller.transport.failure.message and "[the" in caller.transport.failure.message


@pytest.mark.parametrize("host", ["169.254.169.254", "10.0.0.1", "127.0.0.1:1", "[::ffff:127.0.0.1]:1", "localhost:1"])
async def test_private_addresses_are_not_reached(caller: Caller, host: str) -> None:
    with pytest.raises(Exception, match=r"\w"):
        await caller.ask("hello", base_url=f"http://{host}")

    assert caller.transport.failure is not None and caller.transport.failure.code == "LLM_ERROR"
    assert "may not be reached" in caller.transport.failure.message


async def test_a_cancelled_call_leaves_no_connection(model: ScriptedModel, caller: Caller) -> None:
    model.play("silent", [Always(Hang())])
    asking = asyncio.create_task(caller.ask("silent"))
    await asyncio.to_thread(model.wait_for, lambda seen: len(seen) == 1)

    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)

    assert not caller.transport._pool.connections
