"""How Anthropic's Messages and OpenAI's Chat Completions are spoken: requests read, answers and errors written.

Sources: docs.anthropic.com/en/api/messages and /errors; platform.openai.com/docs/api-reference/chat and
/guides/error-codes.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.fakes.model_script import (
    BadRequest,
    Failure,
    Json,
    OutOfCredit,
    Overloaded,
    RateLimited,
    ServerError,
    Unauthorized,
)

Provider = Literal["anthropic", "openai"]
PATHS: dict[str, Provider] = {
    "/v1/messages": "anthropic",
    "/v1/chat/completions": "openai",
    "/chat/completions": "openai",
}
PREFIX: dict[Provider, str] = {"anthropic": "claude-", "openai": "gpt-"}


class Unreadable(ValueError):
    """No request that the provider would take; the text says why."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of either provider. `schema` is that of a structured answer, `tool` the tool that must be called."""

    provider: Provider
    model: str
    api_key: str
    prompt: str
    has_image: bool
    schema: Json | None
    tool: str | None

    @property
    def script(self) -> str:
        """The script that the model's name asks for, or an empty string."""
        prefix = PREFIX[self.provider]
        return self.model.removeprefix(prefix) if self.model.startswith(prefix) else ""

    def wants(self, name: str) -> bool:
        """Whether the answer has such a property."""
        return name in (self.schema or {}).get("properties", {})


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Json
    headers: dict[str, str] = field(default_factory=dict)


def api_key(headers: Any) -> str:
    return headers.get("x-api-key") or (headers.get("Authorization") or "").removeprefix("Bearer ")


def read(provider: Provider, key: str, raw: bytes) -> Asked:
    """Raises Unreadable."""
    try:
        body = json.loads(raw)
        model, messages = str(body["model"]), body["messages"]
        if provider == "anthropic":
            int(body["max_tokens"])
        if body.get("stream"):
            raise Unreadable("stream: not supported here")
        parts = [part for message in messages if message["role"] != "system" for part in _parts(message["content"])]
        schema, tool = _wanted(body)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Unreadable(str(error)) from error
    prompt = "\n".join(part["text"] for part in parts if part["type"] == "text")
    has_image = any(part["type"] in ("image", "image_url") for part in parts)
    return Asked(provider, model, key, prompt, has_image, schema, tool)


def _parts(content: Any) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or []


def _wanted(body: Json) -> tuple[Json | None, str | None]:
    response_format = body.get("response_format") or {}
    if response_format.get("type") == "json_schema":
        return response_format["json_schema"]["schema"], None
    tools = {tool["name"]: tool["input_schema"] for tool in body.get("tools") or []}
    if not tools:
        return None, None
    name = (body.get("tool_choice") or {}).get("name") or next(iter(tools))
    return tools[name], name


# --- Answers -----------------------------------------------------------------------------------------------------
def answer(asked: Asked, said: str | Json) -> Answer:
    """`said` as a tool call or as JSON text when it is structured, otherwise as text."""
    text = said if isinstance(said, str) else json.dumps(said)
    tokens = 1 + len(asked.prompt) // 4, 1 + len(text) // 4
    if asked.provider == "anthropic":
        return Answer(200, _message(asked, said, text, tokens), _request_id("anthropic"))
    return Answer(200, _completion(asked, text, tokens), _request_id("openai"))


def _message(asked: Asked, said: str | Json, text: str, tokens: tuple[int, int]) -> Json:
    calls = asked.tool is not None and not isinstance(said, str)
    block = (
        {"type": "tool_use", "id": _id("toolu_01"), "name": asked.tool, "input": said}
        if calls
        else {"type": "text", "text": text}
    )
    return {
        "id": _id("msg_01"),
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": [block],
        "stop_reason": "tool_use" if calls else "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": tokens[0],
            "output_tokens": tokens[1],
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
        },
    }


def _completion(asked: Asked, text: str, tokens: tuple[int, int]) -> Json:
    message: Json = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    return {
        "id": _id("chatcmpl-"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": asked.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": tokens[0],
            "completion_tokens": tokens[1],
            "total_tokens": sum(tokens),
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        },
        "system_fingerprint": None,
    }


# --- Errors ------------------------------------------------------------------------------------------------------
def no_such_model(provider: Provider, model: str) -> Answer:
    if provider == "anthropic":
        return _anthropic(404, "not_found_error", f"model: {model}")
    text = f"The model `{model}` does not exist or you do not have access to it."
    return _openai(404, "invalid_request_error", text, code="model_not_found")


def error(provider: Provider, failure: Failure, key: str) -> Answer:
    """The status and the body of a failure that has such. Raises ValueError for the others."""
    headers = {}
    if isinstance(failure, RateLimited) and failure.retry_after is not None:
        headers["Retry-After"] = f"{failure.retry_after:g}"
    told = _anthropic_error(failure, key) if provider == "anthropic" else _openai_error(failure, key)
    return Answer(told.status, told.body, {**told.headers, **headers})


def _anthropic_error(failure: Failure, key: str) -> Answer:
    match failure:
        case Unauthorized(echo=echo):
            return _anthropic(401, "authentication_error", "invalid x-api-key" + (f": {key}" if echo else ""))
        case OutOfCredit():
            text = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade"
            return _anthropic(400, "invalid_request_error", f"{text} or purchase credits.")
        case RateLimited():
            text = "This request would exceed your organization's rate limit of 50 requests per minute."
            return _anthropic(429, "rate_limit_error", text)
        case Overloaded():
            return _anthropic(529, "overloaded_error", "Overloaded")
        case ServerError(status=status):
            return _anthropic(status, "api_error", "Internal server error")
        case BadRequest(message=message):
            return _anthropic(400, "invalid_request_error", message)
    raise ValueError(failure)


def _openai_error(failure: Failure, key: str) -> Answer:
    match failure:
        case Unauthorized(echo=echo):
            text = f"Incorrect API key provided: {key if echo else masked(key)}. You can find your API key at "
            url = "https://platform.openai.com/account/api-keys."
            return _openai(401, "invalid_request_error", text + url, code="invalid_api_key")
        case OutOfCredit():
            text = "You exceeded your current quota, please check your plan and billing details."
            return _openai(429, "insufficient_quota", text, code="insufficient_quota")
        case RateLimited():
            text = "Rate limit reached on requests per min (RPM): Limit 3, Used 3, Requested 1."
            return _openai(429, "requests", text, code="rate_limit_exceeded")
        case Overloaded():
            return _openai(503, "server_error", "The engine is currently overloaded, please try again later")
        case ServerError(status=status):
            return _openai(status, "server_error", "The server had an error while processing your request.")
        case BadRequest(message=message):
            return _openai(400, "invalid_request_error", message)
    raise ValueError(failure)


def masked(key: str) -> str:
    """As OpenAI repeats a key: the first eight characters and the last four."""
    return f"{key[:8]}{'*' * max(4, len(key) - 12)}{key[-4:]}"


def _anthropic(status: int, type: str, message: str) -> Answer:
    headers = _request_id("anthropic")
    body = {"type": "error", "error": {"type": type, "message": message}, "request_id": headers["request-id"]}
    return Answer(status, body, headers)


def _openai(status: int, type: str, message: str, *, code: str | None = None) -> Answer:
    body = {"error": {"message": message, "type": type, "param": None, "code": code}}
    return Answer(status, body, _request_id("openai"))


def _request_id(provider: Provider) -> dict[str, str]:
    return {"request-id": _id("req_01")} if provider == "anthropic" else {"x-request-id": _id("req_")}


def _id(prefix: str) -> str:
    return prefix + secrets.token_hex(11)
