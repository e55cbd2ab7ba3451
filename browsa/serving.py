"""The ASGI handler: passes requests to Django's views.

Django's own handler starts a thread, and so opens a database connection, for every request, and changes threads for
every synchronous middleware. Here a synchronous view runs with all its middleware on one thread of a shared, bounded
pool whose threads keep their connections. Asynchronous views run on the event loop without Django's middleware
(sessions and the like are for the admin pages); their `sync_to_async` calls run on the same pool.
"""

from __future__ import annotations

import asyncio
import functools
import io
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from asgiref.sync import ThreadSensitiveContext, iscoroutinefunction
from django.conf import settings
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.base import BaseHandler
from django.core.handlers.exception import convert_exception_to_response
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, ResolverMatch, resolve

from apps.accounts.admission import AdmissionMiddleware
from apps.core.database_threads import DatabaseThreads
from apps.core.middleware import BODY_TOO_LARGE, EnvelopeMiddleware
from apps.core.views import healthz

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

# Many clients read a 413 only after they have sent the whole body: this much is read and discarded.
_MAX_DRAINED_BYTES = 16 * 1024 * 1024
# Pages for people, with sessions, and static files.
_PAGES = ("/admin", "/docs", "/live", "/static")
_STATUSES_WITHOUT_BODY = (204, 304)
_MAX_CACHED_PATH = 200  # characters; paths of the API have fewer
# Synchronous views that wait for nothing: they run on the event loop, because a change of threads takes longer.
_IMMEDIATE = frozenset({healthz})


@dataclass(frozen=True, slots=True)
class Body:
    content: bytes
    too_large: bool = False


@dataclass(frozen=True, slots=True)
class RenderedResponse:
    status: int
    headers: list[tuple[bytes, bytes]]
    content: bytes


class Application:
    """Reads the body up to its limit, then passes the request to the handler for its kind of view."""

    def __init__(self) -> None:
        self._threads = DatabaseThreads(settings.API_THREADS, "api")
        self._waiting_threads = DatabaseThreads(settings.API_WAITING_THREADS, "waiting")
        self._pages = SyncViews()
        self._api_views = ApiViews()
        self._async_views = AsyncViews(self._threads)
        # The pool's threads check their connections; Django's check would cost each request a round trip.
        signals.request_finished.disconnect(close_old_connections)
        resolve("/healthz")  # imports every view now instead of during the first request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            message: Mapping[str, Any] = {}
            while message.get("type") != "lifespan.shutdown":
                message = await receive()
                if message["type"] == "lifespan.shutdown":
                    await asyncio.to_thread(self.close)
                await send({"type": f"{message['type']}.complete"})
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:  # a WebSocket: only the gateway serves them
            await send({"type": "websocket.close"})

    def close(self) -> None:
        """Ends the threads and their database connections."""
        for threads in (self._threads, self._waiting_threads):
            threads.close()

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(scope, receive, limit=settings.MAX_BODY_BYTES)
        except RequestAborted:
            return
        match = find_view(scope["path"])
        request = make_request(scope, body, match)
        view = match.func if match else None
        if iscoroutinefunction(view):
            await self._async_views.serve(request, receive, send)
            return
        waits = scope["method"] in getattr(getattr(view, "cls", None), "waiting_methods", ())
        threads = self._waiting_threads if waits else self._threads
        views = self._pages if scope["path"].startswith(_PAGES) else self._api_views
        response = views.respond(request) if view in _IMMEDIATE else await threads.run(views.respond, request)
        await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
        await send({"type": "http.response.body", "body": response.content})


class RoutedHandler(BaseHandler):
    """Uses the match that `make_request` has, so that a path is resolved once and not three times."""

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        match: ResolverMatch = request.resolver_match or super().resolve_request(request)
        return match


class SyncViews(RoutedHandler):
    """Runs the whole synchronous middleware chain and the view in the calling thread."""

    def __init__(self) -> None:
        super().__init__()
        self.load_middleware(is_async=False)

    def respond(self, request: ASGIRequest) -> RenderedResponse:
        response: Any = self.get_response(request)
        try:
            # A streaming response here is a static file: small enough to send at once.
            content = b"".join(response.streaming_content) if response.streaming else response.content
            if not response.has_header("Content-Length") and response.status_code not in _STATUSES_WITHOUT_BODY:
                response["Content-Length"] = str(len(content))
            headers = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
            cookies = [(b"set-cookie", cookie.OutputString().encode("ascii")) for cookie in response.cookies.values()]
            return RenderedResponse(response.status_code, headers + cookies, content)
        finally:
            response.close()


class ApiViews(SyncViews):
    """The same with only the API's own middleware: sessions, CSRF tokens and messages belong to pages for people."""

    def load_middleware(self, is_async: bool = False) -> None:
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        inner = convert_exception_to_response(self._get_response)  # type: ignore[attr-defined]
        admission = convert_exception_to_response(AdmissionMiddleware(inner))
        self._middleware_chain = convert_exception_to_response(EnvelopeMiddleware(admission))


class AsyncViews(RoutedHandler, ASGIHandler):
    """Django's asynchronous handler with only the API's own middleware, and the shared threads."""

    def __init__(self, threads: DatabaseThreads) -> None:
        super().__init__()
        self._threads = threads

    def load_middleware(self, is_async: bool = False) -> None:
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        inner = convert_exception_to_response(self._get_response_async)  # type: ignore[attr-defined]
        admission = convert_exception_to_response(AdmissionMiddleware(inner))
        self._middleware_chain = convert_exception_to_response(EnvelopeMiddleware(admission))

    async def serve(self, request: ASGIRequest, receive: Receive, send: Send) -> None:
        """Cancels the view when the client disconnects."""
        async with ThreadSensitiveContext(executor=self._threads):
            responding = asyncio.create_task(self._respond(request, send))
            disconnecting = asyncio.create_task(_wait_for_disconnect(receive))
            await asyncio.wait({responding, disconnecting}, return_when=asyncio.FIRST_COMPLETED)
            disconnecting.cancel()
            if not responding.done():
                responding.cancel()
            await asyncio.gather(responding, disconnecting, return_exceptions=True)

    async def _respond(self, request: ASGIRequest, send: Send) -> None:
        response = await self.run_get_response(request)
        if isinstance(response, HttpResponse) and response.status_code not in _STATUSES_WITHOUT_BODY:
            response.headers.setdefault("Content-Length", str(len(response.content)))
        try:
            await self.send_response(response, send)
        finally:
            response.close()


def find_view(path: str) -> ResolverMatch | None:
    with suppress(Resolver404):
        return _resolve(path, settings.ROOT_URLCONF) if len(path) <= _MAX_CACHED_PATH else resolve(path)
    return None


@functools.lru_cache(maxsize=1024)
def _resolve(path: str, urlconf: str) -> ResolverMatch:
    """Clients ask for the same path again and again. Raises Resolver404, which is not cached."""
    return resolve(path, urlconf)


def make_request(scope: Scope, body: Body, match: ResolverMatch | None) -> ASGIRequest:
    request = ASGIRequest(scope, io.BytesIO(body.content))
    request.resolver_match = match
    # A chunked body has no Content-Length header.
    request.META["CONTENT_LENGTH"] = str(len(body.content))
    if body.too_large:
        request.META[BODY_TOO_LARGE] = True
    return request


async def read_body(scope: Scope, receive: Receive, *, limit: int) -> Body:
    """Reads the body up to `limit` bytes. Raises RequestAborted when the client disconnects."""
    headers = dict(scope["headers"])
    announced = headers.get(b"content-length", b"0")
    too_large = announced.isdigit() and int(announced) > limit
    if too_large and b"expect" in headers:
        return Body(b"", too_large=True)  # the client waits for `100 Continue` before it sends the body
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestAborted
        chunk = message.get("body", b"")
        size += len(chunk)
        too_large = too_large or size > limit
        if not too_large:
            chunks.append(chunk)
        if not message.get("more_body", False) or size > _MAX_DRAINED_BYTES:
            return Body(b"" if too_large else b"".join(chunks), too_large=too_large)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
