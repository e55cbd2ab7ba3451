"""What a provider's answer means for a task: go on, try again after a while, or give up with a failure code. Pure.

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
# Attempts of one call, and seconds that its pauses may come to. Whoever asks for a longer pause is not waited for.
MAX_ATTEMPTS: Mapping[Code, int] = {"INVALID_API_KEY": 1, "RATE_LIMIT": 6, "LLM_ERROR": 4}
MAX_TOTAL_DELAY = 90.0
FIRST_DELAY = 1.0

_TRANSIENT_STATUSES = frozenset({408, 409, 425, 500, 502, 503, 504, 520, 522, 524, 529})
# OpenAI's 429 for an account without money: waiting does not help.
_PERMANENT_KINDS = frozenset({"insufficient_quota", "billing_hard_limit_reached"})


@dataclass(frozen=True, slots=True)
class ProviderFailure:
    """An attempt that gave no answer. `retry_after`: seconds that the provider asks for."""

    code: Code
    message: str
    retryable: bool = False
    retry_after: float | None = None


def failure_of(status: int, headers: Mapping[str, str], body: bytes, *, now: datetime) -> ProviderFailure | None:
    """None for an answer that the model gave. `headers` have lower-case names."""
    if 200 <= status < 300:
        return None
    words, kind = _words(body)
    said = f"The provider answered {status}: {words}" if words else f"The provider answered {status}."
    if status in (401, 403):
        return ProviderFailure("INVALID_API_KEY", said)
    after = _retry_after(headers, now)
    if status == 429:
        return ProviderFailure("RATE_LIMIT", said, retryable=kind not in _PERMANENT_KINDS, retry_after=after)
    return ProviderFailure("LLM_ERROR", said, retryable=status in _TRANSIENT_STATUSES, retry_after=after)


def retry_delay(failure: ProviderFailure, *, attempt: int, paused: float, chance: float) -> float | None:
    """Seconds before the next attempt; None: give up. `attempt` counts from 1, `paused` is the sum so far, `chance` is
    a random number from 0 to 1 that spreads those who failed together.
    """
    if not failure.retryable or attempt >= MAX_ATTEMPTS[failure.code]:
        return None
    seconds = failure.retry_after
    if seconds is None:
        seconds = FIRST_DELAY * 2.0 ** (attempt - 1) * (0.75 + chance / 2)
    return seconds if paused + seconds <= MAX_TOTAL_DELAY else None


def _words(body: bytes) -> tuple[str, str]:
    """The provider's own words, and its name for the error. Both say {"error": {"message", "type" | "code"}}."""
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
