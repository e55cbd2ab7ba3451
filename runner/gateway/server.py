"""The gateway: one CDP URL per lease for all kinds of clients, and the URLs of its live view.

After the WebSocket handshake the gateway reads the client's first message, which shows whether the client speaks to the
browser or to a page. Then it connects to Chromium and splices bytes. It sends no CDP messages of its own, and a client
that stops reading slows down only its own connection. It refuses a frame that Chromium would not take.
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
from runner.live.hub import LiveViews
from runner.splice import Half, notice_dead_peers
from runner.websocket import CLOSE, MAX_FRAME_HEAD, PING, PONG, client_handshake

log = logging.getLogger("browsa.runner.gateway")

HEAD_SECONDS = 10.0
UPSTREAM_SECONDS = 10.0
# The events for sessions that have begun or ended. TAIL: how many of the last bytes may be the start of an event.
ATTACHED, DETACHED = b'"Target.attachedToTarget"', b'"Target.detachedFromTarget"'
TAIL = len(DETACHED) - 1
ATTACHED_TARGET = re.compile(
    ATTACHED + rb'.{,8192}?"targetId":"([^"]+)".{,65536}?"waitingForDebugger":(true|false)', re.DOTALL
)
DETACHED_TARGET = re.compile(DETACHED + rb'.{,1024}?"targetId":"([^"]+)"', re.DOTALL)
DIALOG = b'"Page.javascriptDialogOpening"'
SEAM = len(DIALOG) - 1  # the longest of these names may begin in one read and end in the next
DIALOG_FRAME = re.compile(DIALOG + rb'.{,65536}?"frameId":"([^"]+)"', re.DOTALL)
MAX_EVENT, MAX_HELD = 72 * 2**10, 64 * 2**20  # bytes: of an event as far as it is read, and of what is held
HOLD_SECONDS = 5.0  # the longest time that an event is held back from a client
NO_BROWSER = "no such browser: it never existed, or its agent has ended"
NO_PATH = "unknown path"
LATE_IDENTITY = "a page did not get its identity in time: its browser does not answer"
MAX_JSON = 32 * 2**20
# Chromium's own limit for what a client sends: 100 MiB with the head of the frame. It just drops the connection then.
# A message may be longer if it comes in several frames.
MAX_FRAME = 100 * 2**20 - MAX_FRAME_HEAD
TOO_LONG = f"a frame may have at most {MAX_FRAME} bytes"
LINGER_SECONDS = 10.0  # how long a client that sent a longer one may take to read the reason

FindBrowser = Callable[[str], Browser | None]


class Gateway:
    """Serves the URLs of one runner. `find` returns the browser of a CDP capability."""

    def __init__(self, find: FindBrowser, live: LiveViews, *, public_url: str, origins: frozenset[str]) -> None:
        self.find = find
        self.live = live
        self.public_url = public_url
        self.origins = origins
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen, with 0 on a free port, and return the port. Raises OSError."""
        self._server = await asyncio.get_running_loop().create_server(lambda: ClientEnd(self), host, port, backlog=512)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    def spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        """Run `work` in a task that outlives the connection."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class ChromiumEnd(Half):
    """Our connection to Chromium's DevTools: does the handshake, then passes bytes to the client.

    It finds the events of the client's sessions in these bytes (Chromium does not mask its frames). The event for a
    new session is held back until our own work in its target has ended: otherwise the client could let a new page run
    too early. A page that waits for the client's debugger is resumed by the client alone.
    """

    def __init__(self, gateway: Gateway, browser: Browser) -> None:
        super().__init__()
        self._gateway = gateway
        self._browser = browser
        self._tail = b""
        self._held: bytearray | None = None
        self._frames = websocket.Frames()  # as far as the client has them
        self._farewell: bytes | None = None  # the client gets it after the current frame, and then nothing more
        self.targets: set[str] = set()  # of all sessions that the client has had
        self._paused: set[str] = set()  # those that waited for the client's debugger
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
            self.transport.pause_reading()  # until `join`
            if self._head.split(b" ", 2)[1:2] == [b"101"]:
                self.ready.set_result(self._head[end + 4 :])
            else:
                self.ready.set_exception(ChromiumError("no such page"))

    def _pass_on(self, data: bytes) -> None:
        seam, self._tail = self._tail + data[:SEAM], (self._tail + data[-SEAM:])[-SEAM:]
        if DETACHED in data or DETACHED in seam:
            left = {target.decode() for target in DETACHED_TARGET.findall(data)}
            self._gateway.spawn(self._browser.sessions_ended(left), "sessions-ended")
        if DIALOG in data or DIALOG in seam:
            frames = [frame.decode() for frame in DIALOG_FRAME.findall(data)]
            for frame in frames or [None]:
                self._browser.dialogs.client_told(self, frame)
        if self._held is not None:
            self._held += data
            self._note_pauses(bytes(self._held[-len(data) - MAX_EVENT :]))
            if len(self._held) > MAX_HELD:
                self._release_held()
        elif ATTACHED in data or ATTACHED in seam:
            self._held = bytearray(data)
            self._note_pauses(data)
            self._gateway.spawn(self._hold(), "hold-session")
        else:
            self.to_client(data)

    def to_client(self, data: bytes) -> None:
        end = self._frames.feed(data, one=self._farewell is not None)
        super().data_received(data[:end])
        if self._farewell is not None:
            self.part(self._farewell)

    def part(self, farewell: bytes) -> None:
        """Close this connection, and end the client's with a frame of the gateway once the current one is complete."""
        self._farewell = farewell
        client = self.peer
        if client is not None and client.transport is not None and self._frames.between:
            self.peer = client.peer = None
            client.transport.write(farewell)
            client.transport.resume_reading()
            self.close()

    def _note_pauses(self, news: bytes) -> None:
        """Note the targets that wait for the client's debugger, before the emulator resumes them.

        Therefore reading does not pause while bytes are held.
        """
        _older, newer = _targets(news)
        self._paused.update(newer)
        self._browser.pause_for_client(newer)

    async def _hold(self) -> None:
        """Hold back bytes from the event of a new session on, until its target has the identity."""
        settled = 0
        try:
            async with asyncio.timeout(HOLD_SECONDS):
                while self._held is not None and (not settled or ATTACHED in self._held[max(0, settled - TAIL) :]):
                    settled = len(self._held)
                    older, newer = _targets(bytes(self._held))
                    self.targets.update(older or (), newer)
                    await self._browser.sessions_began(older, newer)
        except TimeoutError:
            log.warning(LATE_IDENTITY)
        self._release_held()

    def _release_held(self) -> None:
        held, self._held = self._held, None
        if held:
            self.to_client(bytes(held))

    def eof_received(self) -> bool:
        self._release_held()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._release_held()
        if not self.ready.done():
            self.ready.set_exception(ChromiumError("the browser closed the connection"))
        else:
            self._browser.dialogs.client_left(self)
            self._gateway.spawn(self._browser.connection_ended(self.targets, self._paused), "sessions-ended")
        super().connection_lost(exc)


def _targets(news: bytes) -> tuple[Collection[str] | None, Collection[str]]:
    """The targets in a client's attach events: those that were running, and those that waited for their debuggers.

    All debuggers attach to the latter at once, so the emulator knows them. The former are None when the bytes end in
    the middle of an event.
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
        self._frames = websocket.Frames()
        self._refused = False  # it sent a frame that is too long
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
        if self.peer is not None or self._refused:
            self._to_chromium(data)
            return
        self._buffer += data
        if self._work is not None:
            return  # connecting; `_join` passes on what arrives meanwhile
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
        route = routes.match(request.path)
        if isinstance(route, routes.LiveRoute):
            self._serve_live(request, route)
            return
        browser = self._gateway.find(route.profile) if route is not None else None
        if not _origin_allowed(request, self._gateway.origins):
            # A web page in a person's browser, not an agent: it must not be able to use a leaked URL.
            self._refuse(request, 403, "FORBIDDEN", "requests from web pages are not accepted")
        elif route is None or browser is None:
            self._refuse(request, 404, "NOT_FOUND", NO_PATH if route is None else NO_BROWSER)
        elif isinstance(route, routes.JsonRoute):
            if self._allows(request, route.methods):
                work = self._json(request, route, browser)
                self._work = asyncio.get_running_loop().create_task(work, name="gateway-json")
        elif self._accept(request):
            self._route = route
            self._browser_gone = browser.gone
            self._browser_gone.add_done_callback(self._on_browser_gone)
            self._read_first_message()

    def _serve_live(self, request: http.Request, route: routes.LiveRoute) -> None:
        live = self._gateway.live
        access = live.find(route.capability)
        if not _origin_allowed(request, live.origins):
            self._refuse(request, 403, "FORBIDDEN", "this origin may not open a live view")
        elif access is None:
            self._refuse(request, 404, "NOT_FOUND", NO_BROWSER)
        elif self._accept(request):
            assert self.transport is not None
            transport, self.transport = self.transport, None  # the viewer owns it from now on
            live.admit(access, transport, self._buffer)

    def _accept(self, request: http.Request) -> bool:
        """Complete the WebSocket handshake, or refuse it."""
        if not self._allows(request, ("GET",)):
            return False
        try:
            accept = websocket.accept_key(request)
        except websocket.HandshakeError as error:
            headers = {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
            self._refuse(request, 426, "BAD_REQUEST", str(error), headers=headers)
            return False
        self._write(websocket.switching_protocols(accept, request.request_id))
        return True

    def _on_browser_gone(self, gone: asyncio.Future[int]) -> None:
        """The browser exited before the client's first message."""
        if self._work is None:
            self._close_websocket(1001, "the agent has ended")

    def _read_first_message(self) -> None:
        assert self._route is not None and self.transport is not None
        # Chromium is not connected yet, so the gateway answers pings and close frames itself.
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
            self._close_websocket(1001, "the agent has ended")
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
            if path != browser.chromium.path:  # a page-level connection is a session of that page
                end.targets.add(self._route.target)
                try:
                    async with asyncio.timeout(HOLD_SECONDS):
                        await browser.sessions_began({self._route.target})
                except TimeoutError:
                    log.warning(LATE_IDENTITY)
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
        end.to_client(early)
        self._to_chromium(self._buffer)
        self._buffer = b""
        end.transport.resume_reading()
        self.transport.resume_reading()

    def _to_chromium(self, data: bytes) -> None:
        self._frames.feed(data)
        if self._refused:  # read the rest of the frame, or the client would not read the reason
            if self._frames.opcode == CLOSE and self._frames.between:
                self.close()
        elif self._frames.longest <= MAX_FRAME:
            super().data_received(data)
        elif isinstance(self.peer, ChromiumEnd) and self.transport is not None:
            self._refused = True
            self._deadline = asyncio.get_running_loop().call_later(LINGER_SECONDS, self.transport.abort)
            self.peer.part(websocket.close_frame(1009, TOO_LONG))

    def _allows(self, request: http.Request, methods: tuple[str, ...]) -> bool:
        """Whether the request has one of these methods; if not, it is refused."""
        if request.method in methods:
            return True
        allow = {"Allow": ", ".join(methods)}
        self._refuse(request, 405, "METHOD_NOT_ALLOWED", f"{request.method} is not allowed here", headers=allow)
        return False

    async def _json(self, request: http.Request, route: routes.JsonRoute, browser: Browser) -> None:
        try:
            async with asyncio.timeout(UPSTREAM_SECONDS):
                status, content_type, body = await _ask_chromium(browser, route, request)
        except (ChromiumError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            self._refuse(request, 502, "UPSTREAM_UNAVAILABLE", f"the browser does not answer: {error}")
            return
        if status != 200:
            words = body.decode(errors="replace").strip() or "the browser refused the request"
            refusal = (404, "NOT_FOUND") if status == 404 else (502, "UPSTREAM_UNAVAILABLE")
            self._refuse(request, *refusal, words)
            return
        if "json" in content_type and route.path != "/json/protocol":
            with suppress(ValueError):  # Chromium sends "Target is closing" as JSON too
                body = routes.rewrite(body, profile=route.profile, public_url=self._gateway.public_url)
        self._write(
            http.response(
                status,
                body,
                request_id=request.request_id,
                content_type=content_type,
                to_head=request.method == "HEAD",
            )
        )
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
        self._write(
            http.error_response(
                status,
                code,
                message,
                request_id=request.request_id,
                headers=headers,
                to_head=request.method == "HEAD",
            )
        )
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
    """Whether the request has no `Origin` header, or one of these origins."""
    return "origin" not in request.headers or request.headers["origin"] in origins


async def _ask_chromium(browser: Browser, route: routes.JsonRoute, request: http.Request) -> tuple[int, str, bytes]:
    """Send a DevTools HTTP request to Chromium. Returns status, content type and body."""
    reader, writer = await asyncio.open_connection(sock=await browser.dial(), limit=http.MAX_HEAD)
    try:
        target = f"{route.path}?{request.query}" if request.query else route.path
        method = route.methods[0]
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
