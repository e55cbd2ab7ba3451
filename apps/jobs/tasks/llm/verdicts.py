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

MAX_WORDS = 1000
# Attempts of one call, and seconds that its pauses may come to. Whoever asks for a longer pause is not waited for.
MAX_ATTEMPTS: Mapping[Code, int] = {"INVALID_API_KEY": 1, "RATE_LIMIT": 6, "LLM_ERROR": 4}
MAX_PAUSES = 90.0
FIRST_PAUSE = 1.0

_TRANSIENT = frozenset({408, 409, 425, 500, 502, 503, 504, 520, 522, 524, 529})
# OpenAI's 429 for an account without money: waiting does not help.
_HOPELESS = frozenset({"insufficient_quota", "billing_hard_limit_reached"})


@dataclass(frozen=True, slots=True)
class Trouble:
    """An attempt that gave no answer. `retry_after`: seconds that the provider asks for."""

    code: Code
    message: str
    again: bool = False
    retry_after: float | None = None


def judge(status: int, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Trouble | None:
    """None for an answer that the model gave. `headers` have lower-case names."""
    if 200 <= status < 300:
        return None
    words, kind = _words(body)
    said = f"The provider answered {status}: {words}" if words else f"The provider answered {status}."
    if status in (401, 403):
        return Trouble("INVALID_API_KEY", said)
    after = _retry_after(headers, now)
    if status == 429:
        return Trouble("RATE_LIMIT", said, again=kind not in _HOPELESS, retry_after=after)
    return Trouble("LLM_ERROR", said, again=status in _TRANSIENT, retry_after=after)


def pause(trouble: Trouble, *, attempt: int, paused: float, chance: float) -> float | None:
    """Seconds before the next attempt; None: give up. `attempt` counts from 1, `paused` is the sum so far, `chance` is
    a random number from 0 to 1 that spreads those who failed together.
    """
    if not trouble.again or attempt >= MAX_ATTEMPTS[trouble.code]:
        return None
    seconds = trouble.retry_after
    if seconds is None:
        seconds = FIRST_PAUSE * 2.0 ** (attempt - 1) * (0.75 + chance / 2)
    return seconds if paused + seconds <= MAX_PAUSES else None


def _words(body: bytes) -> tuple[str, str]:
    """The provider's own words, and its name for the error. Both say {"error": {"message", "type" | "code"}}."""
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return body[:MAX_WORDS].decode("utf-8", "replace").strip(), ""
    if not isinstance(error, dict):
        return str(error)[:MAX_WORDS], ""
    return str(error.get("message") or "")[:MAX_WORDS], str(error.get("code") or error.get("type") or "")


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
