"""The gateway: one CDP address per lease for every kind of client, and the addresses of its live view.

After the handshake it reads the client's first message to tell a browser-level client from a page-level one, dials
Chromium, and from then on splices bytes. It never answers for Chromium, and a client that stops reading slows only
its own connection.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress

from runner.browser import Browser
from runner.chromium import ChromiumError
from runner.gateway import http, routes, websocket
from runner.live.service import LiveViews
from runner.splice import Half, notice_dead_peers
from runner.websocket import CLOSE, PING, PONG, client_handshake

log = logging.getLogger("browsa.runner.gateway")

HEAD_SECONDS = 10.0
UPSTREAM_SECONDS = 10.0
# Events that tell a client of a session that began or ended; how much of the last bytes may be the start of one.
ATTACHED, DETACHED = b'"Target.attachedToTarget"', b'"Target.detachedFromTarget"'
TAIL = len(DETACHED) - 1
ATTACHED_TARGET = re.compile(
    ATTACHED + rb'.{,8192}?"targetId":"([^"]+)".{,65536}?"waitingForDebugger":(true|false)', re.DOTALL
)
DETACHED_TARGET = re.compile(DETACHED + rb'.{,1024}?"targetId":"([^"]+)"', re.DOTALL)
HOLD_SECONDS = 5.0  # the most that a session is kept from a client
NO_BROWSER = "no such browser: it never existed, or its agent is over"
LATE_IDENTITY = "a page has its identity late: its browser does not answer"
MAX_JSON = 32 * 2**20

FindBrowser = Callable[[str], Browser | None]


class Gateway:
    """Serves the addresses of one runner. `find` turns a CDP capability into its browser."""

    def __init__(self, find: FindBrowser, live: LiveViews, *, public_url: str, origins: frozenset[str]) -> None:
        self.find = find
        self.live = live
        self.public_url = public_url
        self.origins = origins
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen; the port, which is a free one when `port` is 0. Raises OSError."""
        self._server = await asyncio.get_running_loop().create_server(lambda: ClientEnd(self), host, port, backlog=512)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    def spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        """Run `work` beside the connection that wants it."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class ChromiumEnd(Half):
    """Our connection to Chromium's DevTools: finishes its handshake, then hands over.

    News of the client's sessions is seen in the bytes as they pass (Chromium does not mask its frames). A session that
    begins is held back until the browser has its identity in it: a client that heard of a new page first could let it
    run as somebody else.
    """

    def __init__(self, gateway: Gateway, browser: Browser) -> None:
        super().__init__()
        self._gateway = gateway
        self._browser = browser
        self._tail = b""
        self._held: bytes | None = None
        self.targets: set[str] = set()  # whatever the client had a session of
        self.ready: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._head = b""

    def data_received(self, data: bytes) -> None:
        if self.peer is not None:
            self._pass_on(data)
            return
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end >= 0 and not self.ready.done():
            assert self.transport is not None
            self.transport.pause_reading()  # until the client's end is joined
            if self._head.split(b" ", 2)[1:2] == [b"101"]:
                self.ready.set_result(self._head[end + 4 :])
            else:
                self.ready.set_exception(ChromiumError("no such page"))

    def _pass_on(self, data: bytes) -> None:
        seam, self._tail = self._tail + data[:TAIL], (self._tail + data[-TAIL:])[-TAIL:]
        if DETACHED in data or DETACHED in seam:
            left = {target.decode() for target in DETACHED_TARGET.findall(data)}
            self._gateway.spawn(self._browser.sessions_ended(left), "sessions-ended")
        if self._held is not None:
            self._held += data
        elif ATTACHED in data or ATTACHED in seam:
            self._held = data
            assert self.transport is not None
            self.transport.pause_reading()
            self._gateway.spawn(self._hold(), "hold-session")
        else:
            super().data_received(data)

    async def _hold(self) -> None:
        """Keep back what came since the news of a session, and news that came behind it, until all is settled."""
        settled = 0
        try:
            async with asyncio.timeout(HOLD_SECONDS):
                while self._held is not None and (not settled or ATTACHED in self._held[max(0, settled - TAIL) :]):
                    settled = len(self._held)
                    older, newer = _targets(self._held)
                    self.targets.update(older or (), newer)
                    await self._browser.sessions_began(older, newer)
        except TimeoutError:
            log.warning(LATE_IDENTITY)
        self._release_held()
        if self.transport is not None:
            self.transport.resume_reading()

    def _release_held(self) -> None:
        held, self._held = self._held, None
        if held:
            super().data_received(held)

    def eof_received(self) -> bool:
        self._release_held()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._release_held()
        if not self.ready.done():
            self.ready.set_exception(ChromiumError("the browser hung up"))
        else:
            self._gateway.spawn(self._browser.connection_ended(self.targets), "sessions-ended")
        super().connection_lost(exc)


def _targets(news: bytes) -> tuple[Collection[str] | None, Collection[str]]:
    """The targets that a client attached to when they already ran, and those that still waited for their debuggers.

    To the latter all debuggers attached at once, and the emulator knows of them. The former are None when some cannot
    be told, because the bytes end in the middle of the news.
    """
    sessions = ATTACHED_TARGET.findall(news)
    older = {target.decode() for target, waiting in sessions if waiting == b"false"}
    newer = {target.decode() for target, waiting in sessions if waiting == b"true"}
    return older if sessions and len(sessions) == news.count(ATTACHED) else None, newer


class ClientEnd(Half):
    """A client's connection, from its request line to the splice."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__()
        self._gateway = gateway
        self._buffer = b""
        self._route: routes.SocketRoute | None = None
        self._work: asyncio.Task[None] | None = None
        self._browser_gone: asyncio.Future[int] | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        notice_dead_peers(sock)
        self._deadline = asyncio.get_running_loop().call_later(HEAD_SECONDS, self.close)

    def data_received(self, data: bytes) -> None:
        if self.peer is not None:
            super().data_received(data)
            return
        self._buffer += data
        if self._work is not None:
            return  # dialing; what arrives meanwhile is passed on after the first message
        if self._route is None:
            self._read_head()
        else:
            self._read_first_message()

    def _read_head(self) -> None:
        try:
            request, end = http.parse_head(self._buffer)
        except http.IncompleteHead:
            return
        except http.BadHead as error:
            self._refuse(http.Request("", "", {}), 400, "BAD_REQUEST", str(error))
            return
        if self._deadline is not None:
            self._deadline.cancel()
        self._buffer = self._buffer[end:]
        self._dispatch(request)

    def _dispatch(self, request: http.Request) -> None:
        route = routes.match(request.path)
        if isinstance(route, routes.LiveRoute):
            self._serve_live(request, route)
            return
        browser = self._gateway.find(route.profile) if route is not None else None
        if not _origin_allowed(request, self._gateway.origins):
            # A web page in somebody's browser, not an agent: a leaked address must not be usable from there.
            self._refuse(request, 403, "FORBIDDEN", "requests from web pages are not served here")
        elif route is None or browser is None:
            self._refuse(request, 404, "NOT_FOUND", NO_BROWSER)
        elif isinstance(route, routes.JsonRoute):
            self._serve_json(request, route, browser)
        else:
            self._upgrade(request, route, browser)

    def _serve_live(self, request: http.Request, route: routes.LiveRoute) -> None:
        live = self._gateway.live
        access = live.find(route.capability)
        if not _origin_allowed(request, live.origins):
            self._refuse(request, 403, "FORBIDDEN", "a live view is for the page that shows it")
        elif access is None:
            self._refuse(request, 404, "NOT_FOUND", NO_BROWSER)
        elif self._accept(request):
            assert self.transport is not None
            transport, self.transport = self.transport, None  # from here on it is the viewer's
            live.admit(access, transport, self._buffer)

    def _upgrade(self, request: http.Request, route: routes.SocketRoute, browser: Browser) -> None:
        if not self._accept(request):
            return
        self._route = route
        self._browser_gone = browser.gone
        self._browser_gone.add_done_callback(self._on_browser_gone)
        self._read_first_message()

    def _accept(self, request: http.Request) -> bool:
        """Finish the WebSocket handshake, or refuse it."""
        try:
            accept = websocket.accept_key(request)
        except websocket.HandshakeError as error:
            headers = {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
            self._refuse(request, 426, "BAD_REQUEST", str(error), headers=headers)
            return False
        self._write(websocket.switching_protocols(accept, request.request_id))
        return True

    def _on_browser_gone(self, gone: asyncio.Future[int]) -> None:
        """The browser ended before its client had said anything."""
        if self._work is None:
            self._close_websocket(1001, "the agent is over")

    def _read_first_message(self) -> None:
        assert self._route is not None and self.transport is not None
        # Nobody else is there yet to answer a client that pings, or that leaves without having said anything.
        control, self._buffer = websocket.leading_control(self._buffer)
        for opcode, payload in control:
            if opcode == PING:
                self._write(websocket.server_frame(PONG, payload[:125]))
            elif opcode == CLOSE:
                self._write(websocket.server_frame(CLOSE, payload[:125]))
                self.close()
                return
        level = "browser" if self._route.kind == "browser" else websocket.level_of(self._buffer)
        if level is None:
            return
        browser = self._gateway.find(self._route.profile)
        if browser is None:
            self._close_websocket(1001, "the agent is over")
            return
        chromium = browser.chromium
        path = chromium.path if level == "browser" else f"/devtools/page/{self._route.target}"
        self.transport.pause_reading()
        self._work = asyncio.get_running_loop().create_task(self._join(browser, path), name="gateway-join")

    async def _join(self, browser: Browser, path: str) -> None:
        assert self._route is not None
        end: ChromiumEnd | None = None
        try:
            async with asyncio.timeout(UPSTREAM_SECONDS):
                sock = await browser.dial()
                _transport, end = await asyncio.get_running_loop().create_connection(
                    lambda: ChromiumEnd(self._gateway, browser), sock=sock
                )
                assert end.transport is not None
                end.transport.write(client_handshake(path, browser.chromium.port))
                early = await end.ready
            if path != browser.chromium.path:  # a page-level connection is itself a session
                end.targets.add(self._route.target)
                await self._sessions_began(browser)
        except (ChromiumError, OSError, TimeoutError) as error:
            if end is not None:
                end.close()
            self._close_websocket(1011, str(error) or "the browser does not answer")
            return
        except asyncio.CancelledError:  # the client left
            if end is not None:
                end.close()
            raise
        if self.transport is None or end.transport is None:
            end.close()
            self.close()
            return
        self.join(end)
        self._write(early)
        end.transport.write(self._buffer)
        self._buffer = b""
        end.transport.resume_reading()
        self.transport.resume_reading()

    async def _sessions_began(self, browser: Browser) -> None:
        assert self._route is not None
        try:
            async with asyncio.timeout(HOLD_SECONDS):
                await browser.sessions_began({self._route.target})
        except TimeoutError:
            log.warning(LATE_IDENTITY)

    def _serve_json(self, request: http.Request, route: routes.JsonRoute, browser: Browser) -> None:
        if request.method not in route.methods:
            allow = {"Allow": ", ".join(route.methods)}
            self._refuse(request, 405, "METHOD_NOT_ALLOWED", f"{request.method} is not allowed here", headers=allow)
            return
        self._work = asyncio.get_running_loop().create_task(self._json(request, route, browser), name="gateway-json")

    async def _json(self, request: http.Request, route: routes.JsonRoute, browser: Browser) -> None:
        try:
            async with asyncio.timeout(UPSTREAM_SECONDS):
                status, content_type, body = await _ask_chromium(browser, route, request)
        except (ChromiumError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            self._refuse(request, 502, "UPSTREAM_UNAVAILABLE", f"the browser does not answer: {error}")
            return
        if "json" in content_type and route.path != "/json/protocol":
            with suppress(ValueError):  # "Target is closing" comes as JSON, too
                body = routes.rewrite(body, profile=route.profile, public_url=self._gateway.public_url)
        self._write(http.response(status, body, request_id=request.request_id, content_type=content_type))
        self.close()

    def _refuse(
        self,
        request: http.Request,
        status: int,
        code: str,
        message: str,
        *,
        headers: dict[str, str] | None = None,
    ) -> None:
        self._write(http.error_response(status, code, message, request_id=request.request_id, headers=headers))
        self.close()

    def _close_websocket(self, code: int, reason: str) -> None:
        self._write(websocket.close_frame(code, reason))
        self.close()

    def _write(self, data: bytes) -> None:
        if self.transport is not None and data:
            self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if self._browser_gone is not None:
            self._browser_gone.remove_done_callback(self._on_browser_gone)
        if self._work is not None and self.peer is None:
            self._work.cancel()
        super().connection_lost(exc)


def _origin_allowed(request: http.Request, origins: frozenset[str]) -> bool:
    """Whether it comes from no web page, or from one of these origins."""
    return "origin" not in request.headers or request.headers["origin"] in origins


async def _ask_chromium(browser: Browser, route: routes.JsonRoute, request: http.Request) -> tuple[int, str, bytes]:
    """Chromium's answer to a DevTools HTTP request: status, content type, body."""
    reader, writer = await asyncio.open_connection(sock=await browser.dial(), limit=http.MAX_HEAD)
    try:
        target = f"{route.path}?{request.query}" if request.query else route.path
        method = "PUT" if len(route.methods) > 1 else "GET"
        port = browser.chromium.port
        writer.write(f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode("latin-1", "replace"))
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = dict(line.lower().split(":", 1) for line in head.split("\r\n")[1:] if ":" in line)
        length = int(fields.get("content-length", "0"))
        if length > MAX_JSON:
            raise ChromiumError("its answer is too long")
        body = await reader.readexactly(length)
        return int(head.split(" ", 2)[1]), fields.get("content-type", "text/plain").strip(), body
    finally:
        writer.close()
