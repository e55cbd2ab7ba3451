"""Classifies a provider's answer: success, a transient failure to retry, or a permanent failure with a code. Pure.

The statuses are those of https://docs.anthropic.com/en/api/errors and
https://platform.openai.com/docs/guides/error-codes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

Code = Literal["INVALID_API_KEY", "RATE_LIMIT", "LLM_ERROR"]

MAX_MESSAGE_CHARS = 1000
# The most attempts of one call, and the most seconds of delay in all. A longer `Retry-After` is a permanent failure.
MAX_ATTEMPTS: Mapping[Code, int] = {"INVALID_API_KEY": 1, "RATE_LIMIT": 6, "LLM_ERROR": 4}
MAX_TOTAL_DELAY = 90.0
FIRST_DELAY = 1.0

_TRANSIENT_STATUSES = frozenset({408, 409, 425, 500, 502, 503, 504, 520, 522, 524, 529})
# OpenAI answers 429 when an account has no credit: a retry does not help.
_PERMANENT_KINDS = frozenset({"insufficient_quota", "billing_hard_limit_reached"})


@dataclass(frozen=True, slots=True)
class ProviderFailure:
    """A failed attempt. `retry_after`: the delay that the provider asks for, in seconds."""

    code: Code
    message: str
    retryable: bool = False
    retry_after: float | None = None


def failure_of(status: int, headers: Mapping[str, str], body: bytes, *, now: datetime) -> ProviderFailure | None:
    """None for a successful answer. `headers` have lower-case names."""
    if 200 <= status < 300:
        return None
    detail, kind = _message(body)
    message = f"The provider answered {status}: {detail}" if detail else f"The provider answered {status}."
    if status in (401, 403):
        return ProviderFailure("INVALID_API_KEY", message)
    after = _retry_after(headers, now)
    if status == 429:
        return ProviderFailure("RATE_LIMIT", message, retryable=kind not in _PERMANENT_KINDS, retry_after=after)
    return ProviderFailure("LLM_ERROR", message, retryable=status in _TRANSIENT_STATUSES, retry_after=after)


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


def _message(body: bytes) -> tuple[str, str]:
    """The provider's message and error type. Both providers send {"error": {"message", "type" | "code"}}."""
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return body[:MAX_MESSAGE_CHARS].decode("utf-8", "replace").strip(), ""
    if not isinstance(error, dict):
        return str(error)[:MAX_MESSAGE_CHARS], ""
    return str(error.get("message") or "")[:MAX_MESSAGE_CHARS], str(error.get("code") or error.get("type") or "")


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
