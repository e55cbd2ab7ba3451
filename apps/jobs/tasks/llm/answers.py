"""Reads the body of a provider's successful answer, and repairs what gateways and local models do to it. Pure.

A status of 2xx does not mean that there is an answer: the body can be an error, a page, a stream or a part of JSON.
`read` raises NotAnAnswer for these. In an answer, JSON that was asked for is freed from `<think>` blocks, prose and
fences, and token counts that are missing become 0, because the client libraries fail on both.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.jobs.tasks.llm import provider_failures
from apps.jobs.tasks.llm.names import Provider
from apps.jobs.tasks.llm.prices import Tokens
from apps.jobs.tasks.llm.provider_failures import ProviderFailure

Json = dict[str, Any]

MAX_TEXT = 256 * 1024  # a longer text is left as it is
MAX_OBJECTS = 50  # in a text, at how many places a JSON object is looked for
MAX_SAID = 300
MAX_TOKENS = 10**9

_USAGE: Mapping[Provider, tuple[str, str]] = {
    "anthropic": ("input_tokens", "output_tokens"),
    "openai": ("prompt_tokens", "completion_tokens"),
}
_CACHED = ("cache_read_input_tokens", "cache_creation_input_tokens")
_THOUGHTS = ("think", "thinking", "thought", "reasoning")


class NotAnAnswer(Exception):
    """The body has no answer of a model. `failure` says what it is instead."""

    def __init__(self, failure: ProviderFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request's body, and the status, the headers (lower-case names) and the body of its answer."""

    provider: Provider
    request: bytes
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """`body` is what the client library can read. `said` is the model's own text, `tokens` what the call has used."""

    body: bytes
    said: str
    tokens: Tokens


def read(exchange: Exchange, *, now: datetime) -> ModelAnswer:
    """Raises NotAnAnswer."""
    answer = _parsed(exchange)
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    openai = exchange.provider == "openai"
    text = _openai_text(first) if openai else _anthropic_text(answer)
    error = provider_failures.error_in(answer) or provider_failures.error_in(first)
    if error is not None and not text and not _calls(answer):
        raise NotAnAnswer(provider_failures.failure_of_error(error, exchange.headers, status=exchange.status, now=now))
    said = _repair_openai(exchange, first, text) if openai else _repair_anthropic(exchange, answer, text)
    answer["usage"] = usage = _usage(answer.get("usage"), exchange.provider)
    sent, received = _USAGE[exchange.provider]
    # Anthropic counts cached input apart, OpenAI within the input.
    tokens = usage[sent] + sum(usage.get(name, 0) for name in _CACHED), usage[received]
    return ModelAnswer(json.dumps(answer).encode(), said, tokens)


def decompressed(body: bytes, encoding: str, *, limit: int) -> bytes:
    """A body that is compressed although no compression was asked for. Raises NotAnAnswer, also above `limit` bytes."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise NotAnAnswer(ProviderFailure("LLM_ERROR", f"The provider's answer is compressed with {encoding[:50]}."))
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib, by the header
    try:
        plain = inflate.decompress(body, limit)
    except zlib.error as error:
        message = f"The provider's answer can't be decompressed: {error}"
        raise NotAnAnswer(ProviderFailure("LLM_ERROR", message, retryable=True)) from error
    if inflate.unconsumed_tail:
        raise NotAnAnswer(ProviderFailure("LLM_ERROR", f"The provider's answer has more than {limit} bytes."))
    return plain


def _parsed(exchange: Exchange) -> Json:
    status, headers, body = exchange.status, exchange.headers, exchange.body
    start = f"The provider answered {status}"
    text = body.decode("utf-8", "replace").lstrip("\ufeff").strip()
    if not text:
        raise _failed(f"{start} without a body", "", retryable=True)
    if provider_failures.is_page(headers, body):
        raise _failed(f"{start} with an HTML page instead of JSON", provider_failures.words_of_page(body))
    if "event-stream" in headers.get("content-type", "").lower() or text.startswith(("data:", "event:", ":")):
        raise _failed(f"{start} with an event stream, which was not asked for", text)
    try:
        answer = json.loads(text)
    except RecursionError as error:
        raise _failed(f"{start} with JSON that is nested too deep", text) from error
    except ValueError as error:
        broken = text.startswith(("{", "["))
        what = "with truncated or broken JSON" if broken else "with text that is not JSON"
        raise _failed(f"{start} {what}", text, retryable=broken) from error
    if isinstance(answer, list) and provider_failures.error_in(answer):
        return dict(answer[0])
    if not isinstance(answer, dict):
        raise _failed(f"{start} with JSON that is not an object", text)
    return answer


def _failed(what: str, words: str, *, retryable: bool = False) -> NotAnAnswer:
    words = " ".join(words[: 2 * MAX_SAID].split())[:MAX_SAID]
    return NotAnAnswer(ProviderFailure("LLM_ERROR", provider_failures.sentence(what, words), retryable=retryable))


# --- OpenAI's Chat Completions -----------------------------------------------------------------------------------
def _openai_text(choice: Json) -> str:
    """The text of a choice. Some gateways send a list of parts, as requests have it."""
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list):
        return "".join(_text(part) for part in content if isinstance(part, dict) and part.get("type") == "text")
    return content if isinstance(content, str) else ""


def _repair_openai(exchange: Exchange, choice: Json, text: str) -> str:
    message = choice.get("message")
    if not isinstance(message, dict):
        answer = _short(exchange.body)
        raise _failed(f"The provider answered {exchange.status} without a message in `choices`", answer, retryable=True)
    finish = choice.get("finish_reason")
    if not text and isinstance(message.get("refusal"), str):
        text = message["refusal"]
    if not text and finish != "length":  # the client library has its own words for `length`
        why = f" (finish_reason: {finish})" if isinstance(finish, str) else ""
        raise _failed(f"The provider answered {exchange.status} with an empty message{why}", "", retryable=True)
    message["content"] = _freed(text, exchange) if text else None
    return text


# --- Anthropic's Messages ----------------------------------------------------------------------------------------
def _anthropic_text(answer: Json) -> str:
    return "".join(_text(block) for block in _blocks(answer))


def _repair_anthropic(exchange: Exchange, answer: Json, text: str) -> str:
    calls = _calls(answer)
    if not text and not calls:
        why = f" (stop_reason: {answer['stop_reason']})" if isinstance(answer.get("stop_reason"), str) else ""
        what = f"The provider answered {exchange.status} without a text or a tool call in `content`{why}"
        raise _failed(what, _short(exchange.body), retryable=True)
    blocks = _blocks(answer)
    for call in calls:
        if isinstance(call.get("input"), str):  # the arguments as OpenAI sends them
            found = _json_object(call["input"], frozenset())
            call["input"] = {} if found is None else found
    if not calls:
        freed_text = _freed(text, exchange)
        tools = json.loads(exchange.request).get("tools") or [{}]
        tool, found = str(tools[0].get("name", "")), _parsed_object(freed_text)
        if tool and found is not None:  # the client library reads the JSON that it asks for only from a tool call
            freed = {"type": "tool_use", "id": "toolu_0", "name": tool, "input": found}
        else:
            freed = {"type": "text", "text": freed_text}
        blocks = [*(block for block in blocks if block.get("type") != "text"), freed]
    answer["content"] = blocks
    return json.dumps(calls[0].get("input")) if calls else text


def _blocks(answer: Json) -> list[Json]:
    content = answer.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _calls(answer: Json) -> list[Json]:
    return [block for block in _blocks(answer) if block.get("type") == "tool_use"]


def _text(part: Json) -> str:
    return part["text"] if isinstance(part.get("text"), str) else ""


def _short(body: bytes) -> str:
    return body[: 2 * MAX_SAID].decode("utf-8", "replace")


# --- Texts and usage ---------------------------------------------------------------------------------------------
def _freed(text: str, exchange: Exchange) -> str:
    """The JSON object in the text if the request asks for one; otherwise the text without a leading thought."""
    if len(text) > MAX_TEXT or _parsed_object(text) is not None:
        return text
    wanted = _wanted(exchange)
    if wanted is None:
        stripped = text.lstrip()
        for name in _THOUGHTS:
            if stripped.startswith(f"<{name}>") and f"</{name}>" in stripped:
                return stripped.partition(f"</{name}>")[2].lstrip()
        return text
    found = _json_object(_after_thoughts(text), wanted) or _json_object(text, wanted)
    return text if found is None else json.dumps(found, ensure_ascii=False)


def _parsed_object(text: str) -> Json | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _wanted(exchange: Exchange) -> frozenset[str] | None:
    """The names of the JSON object that the request asks for; None when it asks for text."""
    asked = json.loads(exchange.request)
    if exchange.provider == "openai":
        schema = ((asked.get("response_format") or {}).get("json_schema") or {}).get("schema")
    else:
        schema = next((tool.get("input_schema") for tool in asked.get("tools") or ()), None)
    return None if schema is None else frozenset(schema.get("properties", ()))


def _after_thoughts(text: str) -> str:
    """What follows the last closing tag. Some chat templates leave out the opening one."""
    for name in _THOUGHTS:
        text = text.rpartition(f"</{name}>")[2]
    return text


def _json_object(text: str, wanted: frozenset[str]) -> Json | None:
    """The JSON object in the text with most of the wanted names; of equal ones the last. Looks at bounded places."""
    decoder, at, best, best_score = json.JSONDecoder(), text.find("{"), None, (0, 0)
    if text.lstrip().startswith('"'):  # an object inside a JSON string
        try:
            text = str(json.loads(text))
            at = text.find("{")
        except (ValueError, RecursionError):
            pass
    for _ in range(MAX_OBJECTS):
        if at < 0:
            break
        try:
            found, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at = text.find("{", at + 1)
            continue
        score = len(wanted & found.keys()), len(found)
        if score >= best_score or best is None:
            best, best_score = found, score
        at = text.find("{", end)
    return best


def _usage(usage: Any, provider: Provider) -> Json:
    """Token counts as the client library needs them: unknown ones are 0."""
    given: Json = usage if isinstance(usage, dict) else {}
    names = _USAGE[provider]
    counted = {name: _count(given.get(name)) for name in names}
    if provider == "anthropic":
        return {**counted, **{name: _count(given.get(name)) for name in _CACHED}}
    details = given.get("prompt_tokens_details")
    cached_tokens = _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    total = _count(given.get("total_tokens")) or sum(counted.values())
    return {**counted, "total_tokens": total, "prompt_tokens_details": {"cached_tokens": cached_tokens}}


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_TOKENS:
        return 0
    return int(value)
