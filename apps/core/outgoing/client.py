"""POST requests to untrusted receivers, bounded in time and size. No redirects, proxies, cookies or environment."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import httpcore

from addresses.policy import AllowRule
from apps.core.outgoing.network import GuardedBackend, Resolver, ThreadedResolver
from apps.core.outgoing.urls import Destination

MAX_BODY = 16 * 1024
MAX_HEADERS = 32 * 1024
# Only the status is used. The body is read for at most this time, so that the connection can be used again.
BODY_SECONDS = 1.0
# Shorter than the timeout of common servers, so that no request is sent on a connection that they close.
KEEP_ALIVE_SECONDS = 1.5


class RequestFailed(Exception):
    """There was no HTTP response; the message tells the receiver's operator why."""


@dataclass(frozen=True, slots=True)
class OutgoingResponse:
    status: int
    retry_after: str = ""


class OutgoingClient:
    """The shared parts of all channels: policy, resolver threads, trusted certificates. For one event loop."""

    def __init__(
        self,
        *,
        allow: tuple[AllowRule, ...],
        resolve: Resolver | None = None,
        certificates: ssl.SSLContext | None = None,
    ) -> None:
        self._resolving = ThreadedResolver()
        self._certificates = certificates or httpcore.default_ssl_context()
        self._backend = GuardedBackend(
            allow=allow, resolve=resolve or self._resolving, max_response=MAX_HEADERS + MAX_BODY
        )

    def channel(self) -> Channel:
        """A channel for one receiver, with its own connections."""
        return Channel(self._backend, self._certificates)

    def close(self) -> None:
        self._resolving.close()


class Channel:
    """Connections to one receiver: one for each concurrent request, kept open for later requests."""

    def __init__(self, backend: GuardedBackend, certificates: ssl.SSLContext) -> None:
        self._backend = backend
        self._certificates = certificates
        self._idle: list[httpcore.AsyncHTTPConnection] = []

    async def post(
        self, destination: Destination, *, headers: Mapping[str, str], body: bytes, seconds: float
    ) -> OutgoingResponse:
        """Returns after the response's status and headers. Raises RequestFailed."""
        fields = {"Host": destination.host_header, **headers, "Content-Length": str(len(body))}
        url = httpcore.URL(
            scheme=destination.scheme.encode(),
            host=destination.host.encode(),
            port=destination.port,
            target=destination.target.encode(),
        )
        encoded = [(name.encode(), value.encode()) for name, value in fields.items()]
        request = httpcore.Request(b"POST", url, headers=encoded, content=body)
        connection = await self._connection(url.origin)
        try:
            return await _exchange(connection, request, seconds)
        finally:
            if connection.is_idle() and not connection.is_closed():
                self._idle.append(connection)
            else:
                await connection.aclose()

    async def close(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.aclose()

    async def _connection(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        """The most recently used connection that still works, or a new one. Closes expired ones on the way."""
        while self._idle:
            connection = self._idle.pop()
            if connection.can_handle_request(origin) and not connection.has_expired():
                return connection
            await connection.aclose()
        return httpcore.AsyncHTTPConnection(
            origin=origin,
            ssl_context=self._certificates,
            keepalive_expiry=KEEP_ALIVE_SECONDS,
            network_backend=self._backend,
        )


async def _exchange(
    connection: httpcore.AsyncHTTPConnection, request: httpcore.Request, seconds: float
) -> OutgoingResponse:
    try:
        async with asyncio.timeout(seconds):
            response = await connection.handle_async_request(request)
    except (TimeoutError, httpcore.TimeoutException) as error:
        raise RequestFailed(f"no answer within {seconds:g} s") from error
    except httpcore.RemoteProtocolError as error:
        # Not the library's text: it quotes what the receiver sent.
        raise RequestFailed("it did not answer with valid HTTP") from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise RequestFailed(_text(error)) from error
    await _drain(response)
    retry_after = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"")
    return OutgoingResponse(response.status, retry_after[:100].decode("ascii", "replace"))


async def _drain(response: httpcore.Response) -> None:
    """Reads the rest of the body, or closes the connection. The status is known already, so it does not matter when
    the body is too long, too slow or broken.
    """
    read = 0
    try:
        with suppress(TimeoutError, httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
            async with asyncio.timeout(BODY_SECONDS):
                async for chunk in response.aiter_stream():
                    read += len(chunk)
                    if read > MAX_BODY:
                        break
    finally:
        await response.aclose()


def _text(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:200]
