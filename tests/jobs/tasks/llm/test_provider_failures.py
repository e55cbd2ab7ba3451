"""What a provider's answer means, as a table."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from apps.jobs.tasks.llm.provider_failures import MAX_TOTAL_DELAY, ProviderFailure, failure_of, retry_delay

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def body(message: str, **more: str) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


@pytest.mark.parametrize("status", [200, 201])
def test_an_answer_is_no_trouble(status: int) -> None:
    assert failure_of(status, {}, b"anything", now=NOW) is None


@pytest.mark.parametrize(
    ("status", "said", "code", "retryable"),
    [
        (401, body("invalid x-api-key", type="authentication_error"), "INVALID_API_KEY", False),
        (403, body("no access to this model"), "INVALID_API_KEY", False),
        (429, body("Too many tokens", type="rate_limit_error"), "RATE_LIMIT", True),
        (429, body("You exceeded your quota", code="insufficient_quota"), "RATE_LIMIT", False),
        (400, body("max_tokens is too large"), "LLM_ERROR", False),
        (404, body("model: claude-x"), "LLM_ERROR", False),
        (302, b"", "LLM_ERROR", False),
        (500, body("Internal server error"), "LLM_ERROR", True),
        (503, b"<html>Bad gateway</html>", "LLM_ERROR", True),
        (529, body("Overloaded", type="overloaded_error"), "LLM_ERROR", True),
    ],
)
def test_what_an_error_means(status: int, said: bytes, code: str, retryable: bool) -> None:
    failure = failure_of(status, {}, said, now=NOW)

    assert failure is not None
    assert (failure.code, failure.retryable) == (code, retryable)
    assert f"The provider answered {status}" in failure.message


PAGE = b"<!doctype html><html><head><title>Access denied | proxy</title></head><body>Blocked.</body></html>"


@pytest.mark.parametrize(
    ("status", "said", "code", "words"),
    [
        (403, PAGE, "LLM_ERROR", "The provider answered 403 with an HTML page: Access denied | proxy"),
        (401, b"<html><body><h1>Proxy login</h1></body></html>", "LLM_ERROR", "with an HTML page: Proxy login"),
        (403, b"error code: 1020", "LLM_ERROR", "The provider answered 403: error code: 1020"),
        (403, b"", "LLM_ERROR", "The provider answered 403."),
        (403, body("Request not allowed", type="forbidden"), "LLM_ERROR", "Request not allowed"),
        (403, body("No.", code="unsupported_country_region_territory"), "LLM_ERROR", "403: No."),
        (403, b'{"message": "Key revoked"}', "INVALID_API_KEY", "403: Key revoked"),
        (401, b'{"detail": "No such key"}', "INVALID_API_KEY", "401: No such key"),
        (401, b"Unauthorized", "INVALID_API_KEY", "401: Unauthorized"),
        (429, PAGE, "RATE_LIMIT", "429 with an HTML page: Access denied | proxy"),
        (
            502,
            b"<html><style>p {color: red}</style><p>Bad\n gateway</p>",
            "LLM_ERROR",
            "with an HTML page: Bad gateway",
        ),
        (400, b'[{"error": {"code": 400, "message": "In a list."}}]', "LLM_ERROR", "400: In a list."),
    ],
)
def test_a_page_of_a_proxy_is_not_the_providers_word_on_a_key(status: int, said: bytes, code: str, words: str) -> None:
    failure = failure_of(status, {"content-type": "text/plain"}, said, now=NOW)

    assert failure is not None
    assert (failure.code, words in failure.message) == (code, True), failure.message


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (body("Its own words."), "Its own words."),
        (b'{"error": "plain"}', "plain"),
        (b'{"error": {"message": null}}', ""),
        (b"not JSON", "not JSON"),
        (b"[" * 5000, "[[["),
        (b"\xff\xfe", "\ufffd"),
        (b"", ""),
        (body("x" * 5000), "x" * 1000),
    ],
)
def test_the_providers_own_words_are_told(said: bytes, words: str) -> None:
    failure = failure_of(400, {}, said, now=NOW)

    assert failure is not None and words in failure.message
    assert len(failure.message) < 1100


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("Sun, 22 Nov 2026 12:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
    ],
)
def test_how_long_a_provider_asks_to_wait(text: str, seconds: float | None) -> None:
    failure = failure_of(429, {"retry-after": text}, b"", now=NOW)

    assert failure is not None and failure.retry_after == seconds


def pauses(failure: ProviderFailure, chance: float = 0.5) -> list[float]:
    """Of a call that never succeeds."""
    made: list[float] = []
    while (seconds := retry_delay(failure, attempt=len(made) + 1, paused=sum(made), chance=chance)) is not None:
        made.append(seconds)
    return made


def test_what_may_pass_is_tried_again_ever_more_rarely() -> None:
    assert pauses(ProviderFailure("LLM_ERROR", "", retryable=True)) == [1, 2, 4]
    assert pauses(ProviderFailure("RATE_LIMIT", "", retryable=True)) == [1, 2, 4, 8, 16]
    assert pauses(ProviderFailure("LLM_ERROR", "", retryable=True), chance=0.0) == [0.75, 1.5, 3]


def test_what_will_not_pass_is_not_tried_again() -> None:
    assert pauses(ProviderFailure("INVALID_API_KEY", "")) == []
    assert pauses(ProviderFailure("RATE_LIMIT", "")) == []


def test_a_provider_is_waited_for_as_long_as_it_asks_within_a_bound() -> None:
    assert pauses(ProviderFailure("RATE_LIMIT", "", retryable=True, retry_after=20.0)) == [20, 20, 20, 20]
    assert pauses(ProviderFailure("RATE_LIMIT", "", retryable=True, retry_after=MAX_TOTAL_DELAY + 1)) == []
    assert pauses(ProviderFailure("RATE_LIMIT", "", retryable=True, retry_after=float("inf"))) == []
