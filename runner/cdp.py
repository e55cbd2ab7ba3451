"""The runner's own CDP connection to a browser: commands with replies, events to one listener, flat sessions."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

log = logging.getLogger("browsa.runner.cdp")

Params = dict[str, Any]
EventListener = Callable[[str, Params, str | None], None]


class CdpError(Exception):
    """Chromium refused a command, did not answer in time, or is gone."""


class CdpClosed(CdpError):
    """The connection is gone, and with it, most likely, the browser."""


class CdpConnection:
    """One browser-level connection. Events go to `on_event(method, params, session_id)`, which must not block."""

    def __init__(self, websocket: ClientConnection, on_event: EventListener) -> None:
        self._websocket = websocket
        self._on_event = on_event
        self._ids = itertools.count(1)
        self._replies: dict[int, tuple[asyncio.Future[Params], str | None]] = {}  # with the command's session
        self._reader = asyncio.create_task(self._read(), name="cdp-reader")

    @classmethod
    async def open(cls, sock: socket.socket, url: str, on_event: EventListener) -> CdpConnection:
        """Finish the WebSocket handshake on the connected `sock`. Raises CdpError."""
        try:
            websocket = await connect(
                url,
                sock=sock,
                compression=None,
                max_size=None,
                ping_interval=None,
                open_timeout=10,
                proxy=None,
            )
        except (OSError, TimeoutError, WebSocketException) as error:
            raise CdpError(f"no CDP connection: {error}") from error
        return cls(websocket, on_event)

    async def call(
        self, method: str, params: Params | None = None, *, session: str | None = None, timeout: float = 10.0
    ) -> Params:
        """Send a command and wait at most `timeout` seconds for its result. Raises CdpError."""
        reply = await self.post(method, params, session=session)
        try:
            # Not wait_for: in Python 3.11 it swallows a cancellation that comes together with the result.
            async with asyncio.timeout(timeout):
                return await reply
        except TimeoutError as error:
            raise CdpError(f"{method}: no answer in {timeout:g} s") from error

    async def post(
        self, method: str, params: Params | None = None, *, session: str | None = None
    ) -> asyncio.Future[Params]:
        """Send a command; the future is its result, for callers that send several before they look. Raises CdpError."""
        number = next(self._ids)
        message: Params = {"id": number, "method": method, "params": params or {}}
        if session is not None:
            message["sessionId"] = session
        reply: asyncio.Future[Params] = asyncio.get_running_loop().create_future()
        # An error that nobody waits for is no news: the target went away while we spoke to it.
        reply.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._replies[number] = reply, session
        try:
            await self._websocket.send(json.dumps(message))
        except ConnectionClosed as error:
            self._replies.pop(number, None)
            raise CdpClosed(f"{method}: the connection is closed") from error
        return reply

    @property
    def closed(self) -> bool:
        """True once Chromium, or we, hung up."""
        return self._reader.done()

    async def close(self) -> None:
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader
        self._websocket.transport.abort()

    async def _read(self) -> None:
        try:
            async for raw in self._websocket:
                self._dispatch(json.loads(raw))
        except ConnectionClosed:
            log.debug("a browser hung up on its control connection")
        finally:
            for reply, _session in self._replies.values():
                if not reply.done():
                    reply.set_exception(CdpClosed("the connection is closed"))
            self._replies.clear()

    def _dispatch(self, message: Params) -> None:
        if "id" not in message:
            if message["method"] == "Target.detachedFromTarget":
                self._end_session(message["params"]["sessionId"])
            self._on_event(message["method"], message.get("params", {}), message.get("sessionId"))
            return
        reply, _session = self._replies.pop(message["id"], (None, None))
        if reply is None or reply.done():
            return
        if "error" in message:
            reply.set_exception(CdpError(message["error"].get("message", "refused")))
        else:
            reply.set_result(message.get("result", {}))

    def _end_session(self, ended: str) -> None:
        """Chromium answers nothing more of what a session was asked before it ended."""
        for number in [number for number, (_reply, session) in self._replies.items() if session == ended]:
            reply, _session = self._replies.pop(number)
            if not reply.done():
                reply.set_exception(CdpError("the session has ended"))
