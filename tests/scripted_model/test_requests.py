"""What the scripted model demands of a request, and what it remembers of it."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.fakes.model import Done, ScriptedModel, Wait
from tests.patience import PATIENCE
from tests.scripted_model.conftest import KEY, Anthropic, Caller, OpenAI, actions, step


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
def test_invalid_requests_are_refused(
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
