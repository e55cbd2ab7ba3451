"""Classifies a provider's answer: success, a transient failure to retry, or a permanent failure with a code. Pure.

The statuses are those of https://docs.anthropic.com/en/api/errors and
https://platform.openai.com/docs/guides/error-codes. Gateways also send an error inside an answer with status 200; its
code or type then stands for the status (`failure_of_error`).
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

Code = Literal["INVALID_API_KEY", "RATE_LIMIT", "LLM_ERROR"]

MAX_MESSAGE_CHARS = 1000
# The most attempts of one call, and the most seconds of delay in all. A longer `Retry-After` is a permanent failure.
MAX_ATTEMPTS: Mapping[Code, int] = {"INVALID_API_KEY": 1, "RATE_LIMIT": 6, "LLM_ERROR": 4}
MAX_TOTAL_DELAY = 90.0
FIRST_DELAY = 1.0

_TRANSIENT_STATUSES = frozenset({408, 409, 425, 500, 502, 503, 504, 520, 522, 524, 529})
# OpenAI answers 429 when an account has no credit: a retry does not help.
_PERMANENT_KINDS = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
# 403 for the country of the worker, not for the key.
_NOT_THE_KEY = frozenset({"unsupported_country_region_territory", "forbidden"})
# What an error inside an answer with status 200 would have as its status: types of Anthropic, codes of OpenAI, and
# https://cloud.google.com/apis/design/errors for gateways to Google.
_STATUS_OF_KIND: Mapping[str, int] = {
    **dict.fromkeys(("invalid_request_error", "context_length_exceeded", "invalid_argument"), 400),
    **dict.fromkeys(("authentication_error", "invalid_api_key", "unauthenticated"), 401),
    **dict.fromkeys(("insufficient_quota", "billing_hard_limit_reached"), 429),
    "billing_error": 402,
    **dict.fromkeys(("permission_error", "permission_denied", *_NOT_THE_KEY), 403),
    **dict.fromkeys(("not_found_error", "model_not_found", "not_found"), 404),
    "request_too_large": 413,
    **dict.fromkeys(
        ("rate_limit_error", "rate_limit_exceeded", "rate_limited", "too_many_requests", "resource_exhausted"), 429
    ),
    **dict.fromkeys(("overloaded_error", "overloaded", "unavailable", "service_unavailable"), 503),
}
# Without a status or a known type, an error counts as one of the server.
_UNKNOWN_STATUS = 500

_MARKUP_CHARS = 20_000  # of a page, how much is searched for words
_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{1,500})", re.IGNORECASE)
_HIDDEN = re.compile(r"<(script|style)\b.{0,5000}?</\1>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^<>]{0,2000}>")


@dataclass(frozen=True, slots=True)
class ProviderFailure:
    """A failed attempt. `retry_after`: the delay that the provider asks for, in seconds."""

    code: Code
    message: str
    retryable: bool = False
    retry_after: float | None = None


def failure_of(status: int, headers: Mapping[str, str], body: bytes, *, now: datetime) -> ProviderFailure | None:
    """None for a successful status. `headers` have lower-case names."""
    if 200 <= status < 300:
        return None
    after = _retry_after(headers, now)
    if is_page(headers, body):
        # Not the provider's API has answered, but a proxy or a firewall before it.
        message = sentence(f"The provider answered {status} with an HTML page", words_of_page(body))
        code: Code = "RATE_LIMIT" if status == 429 else "LLM_ERROR"
        return ProviderFailure(code, message, retryable=status in (429, *_TRANSIENT_STATUSES), retry_after=after)
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        words = body[:MAX_MESSAGE_CHARS].decode("utf-8", "replace").strip()
        message = sentence(f"The provider answered {status}", words)
        # Plain text with 403 is a proxy's: the providers' own errors are JSON.
        return _classified(status, message, kind="forbidden" if status == 403 else "", after=after)
    error = error_in(answer)
    words = words_of(answer if error is None else error)
    return _classified(status, sentence(f"The provider answered {status}", words), kind=_kind(error), after=after)


def failure_of_error(error: Any, headers: Mapping[str, str], *, status: int, now: datetime) -> ProviderFailure:
    """The failure that an error inside a successful answer stands for. `status` is that of the answer."""
    meant = _status_of(error)
    named = f" {meant}" if meant is not None else ""
    message = sentence(f"The provider answered {status} with the error{named}", words_of(error))
    return _classified(meant or _UNKNOWN_STATUS, message, kind=_kind(error), after=_retry_after(headers, now))


def error_in(answer: Any) -> Any:
    """The `error` of an answer in JSON, None if it has none. Google's gateways send it in a list."""
    if isinstance(answer, list) and answer:
        answer = answer[0]
    return (answer.get("error") or None) if isinstance(answer, dict) else None


def words_of(error: Any) -> str:
    """The provider's message in an error: {"message": …}, {"detail": …}, text, or else the JSON itself."""
    if isinstance(error, dict):
        for name in ("message", "detail", "error"):
            if isinstance(error.get(name), str) and error[name].strip():
                return str(error[name]).strip()[:MAX_MESSAGE_CHARS]
        if set(error) <= {"message", "code", "type", "param", "status"}:  # nothing but the kind
            return _kind(error)[:MAX_MESSAGE_CHARS]
    return (error.strip() if isinstance(error, str) else json.dumps(error))[:MAX_MESSAGE_CHARS]


def is_page(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether an answer is an HTML page."""
    begin = body[:1000].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return begin.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or (
        "html" in headers.get("content-type", "").lower() and not begin.startswith((b"{", b"["))
    )


def words_of_page(body: bytes) -> str:
    """The title of an HTML page, or else the beginning of its text."""
    page = body[:_MARKUP_CHARS].decode("utf-8", "replace")
    title = _TITLE.search(page)
    text = title[1] if title else _TAG.sub(" ", _HIDDEN.sub(" ", page))
    return " ".join(html.unescape(text).split())[:MAX_MESSAGE_CHARS]


def sentence(start: str, words: str) -> str:
    """What was wrong, and the provider's own words."""
    return f"{start}: {words}" if words else f"{start}."


def retry_delay(failure: ProviderFailure, *, attempt: int, paused: float, chance: float) -> float | None:
    """Seconds before the next attempt; None when there is none. `attempt` counts from 1, `paused` is the sum of the
    delays so far, `chance` is a random number from 0 to 1 for the jitter.
    """
    if not failure.retryable or attempt >= MAX_ATTEMPTS[failure.code]:
        return None
    seconds = failure.retry_after
    if seconds is None:
        seconds = FIRST_DELAY * 2.0 ** (attempt - 1) * (0.75 + chance / 2)
    return seconds if paused + seconds <= MAX_TOTAL_DELAY else None


def _classified(status: int, message: str, *, kind: str, after: float | None) -> ProviderFailure:
    if status == 401 or (status == 403 and kind not in _NOT_THE_KEY):
        return ProviderFailure("INVALID_API_KEY", message)
    if status == 429:
        return ProviderFailure("RATE_LIMIT", message, retryable=kind not in _PERMANENT_KINDS, retry_after=after)
    return ProviderFailure("LLM_ERROR", message, retryable=status in _TRANSIENT_STATUSES, retry_after=after)


def _kind(error: Any) -> str:
    """OpenAI's code or Anthropic's type, in lower case."""
    if not isinstance(error, dict):
        return ""
    code = error.get("code")
    named = code if isinstance(code, str) and not code.isdigit() else error.get("status") or error.get("type")
    return named.lower() if isinstance(named, str) else ""


def _status_of(error: Any) -> int | None:
    """The HTTP status that an error names, by number or by its type."""
    if not isinstance(error, dict):
        return None
    for name in ("code", "status", "status_code", "http_code"):
        value = error.get(name)
        if isinstance(value, str) and re.fullmatch(r"[0-9]{3}", value):
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600:
            return value
    kinds = (error.get(name) for name in ("code", "status", "type"))
    return next(
        (_STATUS_OF_KIND[k.lower()] for k in kinds if isinstance(k, str) and k.lower() in _STATUS_OF_KIND), None
    )


def _retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """RFC 9110, 10.2.3: seconds or a date."""
    text = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds())
