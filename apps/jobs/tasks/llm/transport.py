"""The way from a worker to a provider, for the clients of Anthropic and OpenAI: guarded, patient, alone with the key.

Those clients are given no key and read none of the environment's: this puts the caller's key on the wire, and nothing
else that they would send of their own accord. Addresses are checked as they are dialled (`apps.core.outgoing`).
A call is tried again after what may pass; what won't is kept in `trouble`, in the provider's words without secrets.
"""

from __future__ import annotations

import asyncio
import functools
import random
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import httpcore
import httpx2
from django.conf import settings

from apps.core.outgoing.network import AddressRefused, GuardedBackend, ThreadedResolver
from apps.jobs.tasks.llm import verdicts
from apps.jobs.tasks.llm.names import Provider
from apps.jobs.tasks.llm.verdicts import Trouble

MAX_ANSWER = 8 * 1024 * 1024
# Of one attempt. A model that thinks for longer than this gives no answer.
ATTEMPT_SECONDS = 120.0

DEFAULT_BASE_URLS: dict[Provider, str] = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com/v1",
}
_PASSED_ON = frozenset({"accept", "content-type", "content-length", "host", "user-agent"})
_PREFIX_PASSED_ON = "anthropic-"


class PatientTransport(httpx2.AsyncBaseTransport):
    """For one task. `sleep` and `seconds` are for tests."""

    def __init__(
        self,
        provider: Provider,
        key: str,
        *,
        seconds: float = ATTEMPT_SECONDS,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.trouble: Trouble | None = None
        self._provider = provider
        self._key = key
        self._seconds = seconds
        self._sleep = sleep
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_certificates(),
            network_backend=GuardedBackend(
                allow=settings.ALLOW_ADDRESSES, resolve=_resolving(), max_response=MAX_ANSWER
            ),
            max_connections=4,
            keepalive_expiry=20.0,
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raises httpx2.TransportError when there was no answer after all."""
        content = await request.aread()
        attempt, paused = 1, 0.0
        while True:
            answer, trouble = await self._attempt(request, content)
            if trouble is None:
                break
            seconds = verdicts.pause(trouble, attempt=attempt, paused=paused, chance=random.random())  # noqa: S311
            if seconds is None:
                self.trouble = trouble
                break
            await self._sleep(seconds)
            attempt, paused = attempt + 1, paused + seconds
        if answer is None:
            raise httpx2.ConnectError(trouble.message if trouble else "no answer", request=request)
        return answer

    def without_secrets(self, text: str) -> str:
        return text.replace(self._key, "[the key]")

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def _attempt(self, request: httpx2.Request, content: bytes) -> tuple[httpx2.Response | None, Trouble | None]:
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._pool.handle_async_request(self._on_the_wire(request, content))
                try:
                    body = b"".join([chunk async for chunk in answer.aiter_stream()])
                finally:
                    await answer.aclose()
        except TimeoutError:
            return None, Trouble("LLM_ERROR", f"The provider gave no answer within {self._seconds:g} s.", again=True)
        except AddressRefused as error:
            return None, Trouble("LLM_ERROR", f"The provider can't be reached: {error}")
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            said = self.without_secrets(str(error) or type(error).__name__)[: verdicts.MAX_WORDS]
            return None, Trouble("LLM_ERROR", f"The provider can't be reached: {said}", again=True)
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in answer.headers]
        # What was compressed reaches the client so, and is opened there; errors are not worth a compression.
        trouble = verdicts.judge(
            answer.status, dict(headers), self.without_secrets(body.decode("latin-1")).encode("latin-1"), now=_now()
        )
        return httpx2.Response(answer.status, headers=headers, content=body, request=request), trouble

    def _on_the_wire(self, request: httpx2.Request, content: bytes) -> httpcore.Request:
        headers = [
            (name, value)
            for name, value in request.headers.raw
            if (lower := name.decode("latin-1").lower()) in _PASSED_ON or lower.startswith(_PREFIX_PASSED_ON)
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


def _now() -> datetime:
    return datetime.now(UTC)


@functools.cache
def _certificates() -> ssl.SSLContext:
    return httpcore.default_ssl_context()


@functools.cache
def _resolving() -> ThreadedResolver:
    return ThreadedResolver()
