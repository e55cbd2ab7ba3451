"""What a 2xx of a model's server holds: an answer, perhaps to be repaired, or something else that is said to be so."""

from __future__ import annotations

import gzip
import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from apps.jobs.tasks.llm import answers
from apps.jobs.tasks.llm.answers import Exchange, NotAnAnswer
from apps.jobs.tasks.llm.names import Provider
from apps.jobs.tasks.llm.provider_failures import ProviderFailure

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
STEP = {"next_goal": "Click “Go”.", "action": [{"click": {"index": 1}}]}
GOOD = json.dumps(STEP)
SCHEMA = {"type": "object", "properties": {"next_goal": {}, "memory": {}, "action": {}}}
PROVIDERS: tuple[Provider, ...] = ("anthropic", "openai")


def request(provider: Provider, schema: dict[str, Any] | None = SCHEMA) -> bytes:
    body: dict[str, Any] = {"model": "m", "messages": []}
    if schema is not None and provider == "openai":
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "agent_output", "schema": schema}}
    elif schema is not None:
        body["tools"] = [{"name": "AgentOutput", "input_schema": schema}]
    return json.dumps(body).encode()


def answer(provider: Provider, text: Any, **more: Any) -> dict[str, Any]:
    if provider == "openai":
        return {"id": "c", "choices": [{"message": {"role": "assistant", "content": text}}], **more}
    return {"id": "m", "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", **more}


def read(provider: Provider, body: Any, *, asked: bytes = b"", **headers: str) -> dict[str, Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    exchange = Exchange(provider, asked or request(provider), 200, named, raw)
    told: dict[str, Any] = json.loads(answers.read(exchange, now=NOW).body)
    return told


def text_of(provider: Provider, told: dict[str, Any]) -> str:
    if provider == "openai":
        return str(told["choices"][0]["message"]["content"])
    return "".join(block["text"] if "text" in block else json.dumps(block["input"]) for block in told["content"])


def refused(provider: Provider, body: Any, **headers: str) -> ProviderFailure:
    with pytest.raises(NotAnAnswer) as caught:
        read(provider, body, **headers)
    assert "\n" not in caught.value.failure.message and len(caught.value.failure.message) < 1200
    return caught.value.failure


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"<think>The user wants {{this}}.</think>{GOOD}",
        f"<think>\nPerhaps {json.dumps({'next_goal': 'no'})}?\n</think>\n\n```json\n{GOOD}\n```",
        f"The template left out the opening tag.</think>{GOOD}",
        f"<thinking>Hm.</thinking>\n{GOOD}",
        f"<think>It never ends. {GOOD}",
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}\n```\nDone.",
        f"Sure! Here is my next step:\n\n```JSON\n{GOOD}\n```\nLet me know {{if}} it helps {{}}.",
        f"First {json.dumps({'example': 1, 'of': 2, 'another': 3})}, but I answer {GOOD} and nothing else.",
        json.dumps(GOOD),
        f"[{GOOD}]",
    ],
)
def test_json_is_found_between_other_text(provider: Provider, text: str) -> None:
    assert json.loads(text_of(provider, read(provider, answer(provider, text)))) == STEP


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("text", ["I'm sorry, I can't do that.", "[1, 2]", "{broken", ""])
def test_text_without_an_object_is_left_as_it_is(provider: Provider, text: str) -> None:
    if text:
        assert text_of(provider, read(provider, answer(provider, text))) == text
    else:
        assert refused(provider, answer(provider, text)).retryable


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("<think>Hm.</think>\nThe price is 5.", "The price is 5."),
        (f"See {GOOD}", f"See {GOOD}"),
        ("Use <think> tags.", "Use <think> tags."),
    ],
)
def test_text_that_was_asked_for_loses_only_the_thoughts(provider: Provider, text: str, plain: str) -> None:
    told = read(provider, answer(provider, text), asked=request(provider, None))

    assert text_of(provider, told) == plain


@pytest.mark.parametrize("text", [GOOD, f"<think>Hm.</think>{GOOD}", f"So:\n```json\n{GOOD}\n```"])
def test_json_instead_of_the_tool_call_that_was_asked_for_becomes_one(text: str) -> None:
    told = read("anthropic", answer("anthropic", text))

    assert [(block["type"], block["name"], block["input"]) for block in told["content"]] == [
        ("tool_use", "AgentOutput", STEP)
    ]


def test_a_message_in_parts_and_a_refusal_are_read() -> None:
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": GOOD}]
    refusal = {"choices": [{"message": {"content": None, "refusal": "I can't help with that."}}]}

    assert json.loads(text_of("openai", read("openai", answer("openai", parts)))) == STEP
    assert text_of("openai", read("openai", refusal)) == "I can't help with that."


@pytest.mark.parametrize("arguments", [STEP, GOOD])
def test_the_arguments_of_a_tool_call_are_an_object(arguments: Any) -> None:
    call = {"type": "tool_use", "id": "t", "name": "AgentOutput", "input": arguments}

    told = read("anthropic", {"content": [{"type": "text", "text": "So: {}"}, call], "stop_reason": "tool_use"})

    assert [block.get("input") for block in told["content"]] == [None, STEP]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("error", "code", "retryable", "words"),
    [
        ({"code": 429}, "RATE_LIMIT", True, "the error 429"),
        ({"code": "429", "message": "Slow down."}, "RATE_LIMIT", True, "429: Slow down."),
        ({"type": "rate_limit_error", "message": "Too many tokens"}, "RATE_LIMIT", True, "Too many tokens"),
        ({"code": "insufficient_quota", "message": "No money."}, "RATE_LIMIT", False, "No money."),
        ({"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Quota."}, "RATE_LIMIT", True, "Quota."),
        ({"code": 401, "message": "No such key."}, "INVALID_API_KEY", False, "401: No such key."),
        ({"type": "authentication_error", "message": "invalid x-api-key"}, "INVALID_API_KEY", False, "x-api-key"),
        ({"code": "invalid_api_key", "message": "Wrong."}, "INVALID_API_KEY", False, "Wrong."),
        ({"code": 400, "message": "Bad schema."}, "LLM_ERROR", False, "400: Bad schema."),
        ({"code": "model_not_found", "message": "No gpt-9."}, "LLM_ERROR", False, "404: No gpt-9."),
        ({"code": 502, "message": "Upstream died."}, "LLM_ERROR", True, "502: Upstream died."),
        ({"type": "overloaded_error", "message": "Overloaded"}, "LLM_ERROR", True, "Overloaded"),
        ({"message": "Something."}, "LLM_ERROR", True, "with the error: Something."),
        ("out of memory", "LLM_ERROR", True, "with the error: out of memory"),
        ({"code": True, "message": ["odd"]}, "LLM_ERROR", True, "with the error"),
    ],
)
def test_an_error_inside_of_an_answer_counts_as_its_status(
    provider: Provider, error: Any, code: str, retryable: bool, words: str
) -> None:
    bodies: list[Any] = [{"error": error}, {"type": "error", "error": error}, [{"error": error}]]
    if provider == "openai":
        bodies += [{"error": error, "choices": None}, {"choices": [{"error": error, "message": {"content": ""}}]}]

    for body in bodies:
        failure = refused(provider, body)
        assert (failure.code, failure.retryable) == (code, retryable), body
        assert words in failure.message


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_error_that_says_when_to_come_back_is_believed(provider: Provider) -> None:
    assert refused(provider, {"error": {"code": 429}}, retry_after="7").retry_after == 7.0


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("error", [None, {}, "", False])
def test_an_empty_error_beside_an_answer_is_none(provider: Provider, error: Any) -> None:
    assert json.loads(text_of(provider, read(provider, answer(provider, GOOD, error=error)))) == STEP


PAGE = b"<!DOCTYPE html><html><head><title>Sign in &amp; go</title></head><body>x</body></html>"


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("body", "kind", "said", "retryable"),
    [
        (PAGE, "text/html", "with an HTML page instead of JSON: Sign in & go", False),
        (
            b"  <html><body><p>Captive portal</p>",
            "application/json",
            "HTML page instead of JSON: Captive portal",
            False,
        ),
        (b"<h1>It works!</h1>", "text/html; charset=utf-8", "HTML page instead of JSON: It works!", False),
        (b'data: {"choices": []}\n\ndata: [DONE]\n', "text/event-stream", "with an event stream", False),
        (b"event: message_start\ndata: {}\n\n", "application/json", "with an event stream", False),
        (b": OPENROUTER PROCESSING\n\n", "text/plain", "with an event stream", False),
        (b'{"choices": [{"message": {"cont', "application/json", "with truncated or broken JSON: {", True),
        (b'{"a": 1} {"b": 2}', "application/json", "with truncated or broken JSON", True),
        (b"", "application/json", "without a body.", True),
        (b" \r\n", "", "without a body.", True),
        (b"OK", "text/plain", "with text that is not JSON: OK", False),
        (b"\xff\xfe\x00", "", "with text that is not JSON", False),
        (b"null", "application/json", "with JSON that is not an object: null", False),
        (b'"hello"', "application/json", 'with JSON that is not an object: "hello"', False),
        (b"[" * 200_000, "application/json", "nested too deep", False),
        (b"{}", "application/json", "The provider answered 200 without a", True),
    ],
)
def test_an_invalid_answer_is_named_in_one_sentence(
    provider: Provider, body: bytes, kind: str, said: str, retryable: bool
) -> None:
    failure = refused(provider, body, content_type=kind)

    assert said in failure.message and failure.message.startswith("The provider answered 200 with")
    assert (failure.code, failure.retryable) == ("LLM_ERROR", retryable)


@pytest.mark.parametrize("choices", [None, [], {}, "none", [None], [{}], [{"message": None}], [{"text": "old"}]])
def test_an_answer_without_choices_is_none(choices: Any) -> None:
    failure = refused("openai", {"id": "x", "choices": choices})

    assert failure.message.startswith("The provider answered 200 without a message in `choices`: {")
    assert failure.retryable


@pytest.mark.parametrize("content", [None, [], {}, 5, [None], [{"type": "thinking", "thinking": "Hm."}]])
def test_an_answer_without_content_is_none(content: Any) -> None:
    failure = refused("anthropic", {"id": "x", "content": content, "stop_reason": "refusal"})

    assert "without a text or a tool call in `content` (stop_reason: refusal)" in failure.message


def test_an_empty_message_says_why_it_is_empty() -> None:
    empty = {"choices": [{"message": {"content": None}, "finish_reason": "content_filter"}]}
    cut = {"choices": [{"message": {"content": None}, "finish_reason": "length"}]}

    assert "(finish_reason: content_filter)" in refused("openai", empty).message
    assert read("openai", cut)["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (None, (0, 0)),
        ({}, (0, 0)),
        ("many", (0, 0)),
        ({"input": None, "output": None}, (0, 0)),
        ({"input": 7, "output": None}, (7, 0)),
        ({"input": "7", "output": -1}, (0, 0)),
        ({"input": 7.0, "output": True}, (7, 0)),
        ({"input": 10**30, "output": 5}, (0, 5)),
        ({"input": 7, "output": 5}, (7, 5)),
    ],
)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_tokens_that_are_not_counted_are_none(provider: Provider, usage: Any, tokens: tuple[int, int]) -> None:
    names = ("prompt_tokens", "completion_tokens") if provider == "openai" else ("input_tokens", "output_tokens")
    given = usage
    if isinstance(usage, dict) and usage:
        given = {names[0]: usage["input"], names[1]: usage["output"], "total_tokens": None}

    told = read(provider, answer(provider, GOOD, usage=given))["usage"]

    assert (told[names[0]], told[names[1]]) == tokens
    assert all(isinstance(value, (int, dict)) for value in told.values())


@pytest.mark.parametrize(
    "text", ["{" * 200_000, '{"a":' * 40_000, "<think>" * 30_000, "</think>{" * 20_000, "{}" * 100_000]
)
def test_a_hostile_text_takes_no_time(text: str) -> None:
    began = time.process_time()

    read("openai", answer("openai", text))

    assert time.process_time() - began < 2


def test_all_input_is_counted_also_what_a_cache_has_served() -> None:
    of_anthropic = {"input_tokens": 3, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 500}
    of_openai = {"prompt_tokens": 43, "prompt_tokens_details": {"cached_tokens": 40}}
    cases: list[tuple[Provider, dict[str, Any], tuple[int, int]]] = [
        ("anthropic", {**of_anthropic, "output_tokens": 7}, (543, 7)),
        ("openai", {**of_openai, "completion_tokens": 7}, (43, 7)),
    ]
    for provider, usage, tokens in cases:
        body = json.dumps(answer(provider, GOOD, usage=usage)).encode()
        exchange = Exchange(provider, request(provider), 200, {}, body)
        assert answers.read(exchange, now=NOW).tokens == tokens


def test_a_compressed_answer_is_read_within_bounds() -> None:
    packed = gzip.compress(b"{}" * 1000)

    assert answers.decompressed(packed, "gzip", limit=2000) == b"{}" * 1000
    assert answers.decompressed(b"{}", "", limit=1) == b"{}"
    for body, encoding in ((packed, "br"), (b"{}", "gzip"), (gzip.compress(b" " * 10_000), "gzip")):
        with pytest.raises(NotAnAnswer, match=r"compressed with br|can't be decompressed|more than 2000 bytes"):
            answers.decompressed(body, encoding, limit=2000)
