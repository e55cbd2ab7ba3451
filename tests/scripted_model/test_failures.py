"""The scripted model's failures, as the providers' own clients raise them."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.fakes.model import (
    Always,
    BadRequest,
    Done,
    Failing,
    Failure,
    Garbage,
    Hang,
    HangUp,
    Malformed,
    OutOfCredit,
    Overloaded,
    RateLimited,
    ScriptedModel,
    ServerError,
    Unauthorized,
    Wait,
)
from tests.scripted_model.conftest import KEY, Anthropic, Caller, OpenAI, actions, step


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

    caller.client = caller.client.with_options(api_key="sk-of-another-caller")
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
