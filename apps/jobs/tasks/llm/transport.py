"""The HTTP transport from a worker to a provider, for the client libraries of Anthropic and OpenAI.

The libraries get no key, not even from the environment: this transport adds the caller's key, and forwards only the
headers that the API needs. Addresses are checked when a connection opens (`apps.core.outgoing`). The transport retries
transient failures. A permanent one is kept in `failure`, with the provider's message but without secrets. The libraries
get only answers that `answers.read` has accepted.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import httpcore
import httpx2
from django.conf import settings

from apps.core.outgoing.network import AddressRefused, GuardedBackend, ThreadedResolver
from apps.jobs.tasks.llm import answers, provider_failures
from apps.jobs.tasks.llm.answers import Exchange, NotAnAnswer
from apps.jobs.tasks.llm.names import Provider
from apps.jobs.tasks.llm.prices import Tokens
from apps.jobs.tasks.llm.provider_failures import ProviderFailure

MAX_ANSWER = 8 * 1024 * 1024
# The time limit of one attempt, which includes the time that the model thinks.
ATTEMPT_SECONDS = 120.0

DEFAULT_BASE_URLS: dict[Provider, str] = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com/v1",
}
_FORWARDED_HEADERS = frozenset({"accept", "content-type", "content-length", "host", "user-agent"})
_FORWARDED_PREFIX = "anthropic-"


# One for each process.
_ssl_context = functools.cache(httpcore.default_ssl_context)
_resolver = functools.cache(ThreadedResolver)


class RetryingTransport(httpx2.AsyncBaseTransport):
    """The transport of one task. Tests set `sleep` and `seconds`."""

    def __init__(
        self,
        provider: Provider,
        key: str,
        *,
        seconds: float = ATTEMPT_SECONDS,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.failure: ProviderFailure | None = None
        self.said = ""  # the beginning of the model's last answer
        self.tokens: Tokens = 0, 0  # of all answers
        self._provider = provider
        self._key = key
        self._seconds = seconds
        self._sleep = sleep
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_ssl_context(),
            network_backend=GuardedBackend(
                allow=settings.ALLOW_ADDRESSES, resolve=_resolver(), max_response=MAX_ANSWER
            ),
            max_connections=4,
            keepalive_expiry=20.0,
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raises httpx2.TransportError when no attempt got an answer."""
        content = await request.aread()
        attempt, paused = 1, 0.0
        while True:
            answer, failure = await self._attempt(request, content)
            if failure is None:
                break
            seconds = provider_failures.retry_delay(failure, attempt=attempt, paused=paused, chance=random.random())  # noqa: S311
            if seconds is None:
                self.failure = failure
                break
            await self._sleep(seconds)
            attempt, paused = attempt + 1, paused + seconds
        if answer is None:
            raise httpx2.ConnectError(failure.message if failure else "no answer", request=request)
        return answer

    def without_secrets(self, text: str) -> str:
        return text.replace(self._key, "[the key]")

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def _attempt(
        self, request: httpx2.Request, content: bytes
    ) -> tuple[httpx2.Response | None, ProviderFailure | None]:
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._pool.handle_async_request(self._wire_request(request, content))
                try:
                    body = b"".join([chunk async for chunk in answer.aiter_stream()])
                finally:
                    await answer.aclose()
        except TimeoutError:
            return None, ProviderFailure(
                "LLM_ERROR", f"The provider gave no answer within {self._seconds:g} s.", retryable=True
            )
        except AddressRefused as error:
            return None, ProviderFailure("LLM_ERROR", f"The provider can't be reached: {error}")
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            said = self.without_secrets(str(error) or type(error).__name__)[: provider_failures.MAX_MESSAGE_CHARS]
            return None, ProviderFailure("LLM_ERROR", f"The provider can't be reached: {said}", retryable=True)
        return self._read(request, content, answer, body)

    def _read(
        self, request: httpx2.Request, content: bytes, answer: httpcore.Response, body: bytes
    ) -> tuple[httpx2.Response | None, ProviderFailure | None]:
        """The answer for the client library, and the failure that it stands for. None for what is not an answer."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
        now = datetime.now(UTC)
        try:
            body = answers.decompressed(body, headers.get("content-encoding", "").lower(), limit=MAX_ANSWER)
            redacted = self.without_secrets(body.decode("latin-1")).encode("latin-1")
            failure = provider_failures.failure_of(answer.status, headers, redacted, now=now)
            if failure is None:
                exchange = Exchange(self._provider, content, answer.status, headers, body)
                try:
                    read = answers.read(exchange, now=now)
                except NotAnAnswer:
                    # The words come from the redacted body: an excerpt of the body itself may cut a key in two.
                    answers.read(dataclasses.replace(exchange, body=redacted), now=now)
                    raise
                self.tokens = self.tokens[0] + read.tokens[0], self.tokens[1] + read.tokens[1]
                body, self.said = read.body, self.without_secrets(read.said)[: answers.MAX_SAID]
        except NotAnAnswer as error:
            return None, dataclasses.replace(error.failure, message=self.without_secrets(error.failure.message))
        kept = {"content-type": headers.get("content-type", "") if failure else "application/json"}
        return httpx2.Response(answer.status, headers=kept, content=body, request=request), failure

    def _wire_request(self, request: httpx2.Request, content: bytes) -> httpcore.Request:
        headers = [
            (name, value)
            for name, value in request.headers.raw
            if (lower := name.decode("latin-1").lower()) in _FORWARDED_HEADERS or lower.startswith(_FORWARDED_PREFIX)
        ]
        if self._provider == "anthropic":
            headers.append((b"x-api-key", self._key.encode()))
        else:
            headers.append((b"authorization", b"Bearer " + self._key.encode()))
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        return httpcore.Request(request.method.encode(), url, headers=headers, content=content)
