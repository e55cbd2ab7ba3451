"""The runner's CDP connection to a browser: commands with replies, one event listener, flat sessions."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from collections.abc import Callable
from typing import Any, cast

from runner.websocket import CLOSE, PING, PONG, TEXT, Messages, client_frame, client_handshake

OPEN_SECONDS = 10.0

Params = dict[str, Any]
EventListener = Callable[[str, Params, str | None], None]


class CdpError(Exception):
    """Chromium refused a command, did not answer in time, or has exited."""


class CdpClosed(CdpError):
    """The connection is closed, most likely because the browser has exited."""


class CdpConnection(asyncio.Protocol):
    """One browser-level connection. Events go to `on_event(method, params, session_id)`, which must not block.

    It is an asyncio protocol instead of a WebSocket library's connection, because each page that is read takes fifty
    messages. A message goes to `on_event`, or to the future of its command, at once, without a queue or a task.
    """

    def __init__(self, on_event: EventListener) -> None:
        self._on_event = on_event
        self._ids = itertools.count(1)
        self._replies: dict[int, tuple[asyncio.Future[Params], str | None]] = {}  # with the command's session
        self._messages = Messages()
        self._head: bytes | None = b""  # of the answer to our handshake; None after it was read
        self._transport: asyncio.Transport | None = None
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, sock: socket.socket, *, port: int, path: str, on_event: EventListener) -> CdpConnection:
        """Do the WebSocket handshake on the connected `sock`, and own it. Raises CdpError."""
        connection = cls(on_event)
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                transport, _ = await asyncio.get_running_loop().create_connection(lambda: connection, sock=sock)
                transport.write(client_handshake(path, port))
                await connection._opened
        except BaseException as error:
            if connection._transport is None:
                sock.close()
            else:
                connection._transport.abort()
            if isinstance(error, OSError):  # a timeout is one
                raise CdpError(f"no CDP connection: {str(error) or 'no answer'}") from error
            raise
        return connection

    async def call(
        self, method: str, params: Params | None = None, *, session: str | None = None, timeout: float = 10.0
    ) -> Params:
        """Send a command and wait at most `timeout` seconds for its result. Raises CdpError."""
        reply = await self.post(method, params, session=session)
        try:
            # Not wait_for: in Python 3.11 it loses a cancellation that arrives together with the result.
            async with asyncio.timeout(timeout):
                return await reply
        except TimeoutError as error:
            raise CdpError(f"{method}: no answer in {timeout:g} s") from error

    async def post(
        self, method: str, params: Params | None = None, *, session: str | None = None
    ) -> asyncio.Future[Params]:
        """Send a command and return the future of its result, so that callers can send several. Raises CdpError."""
        if self._transport is None:
            raise CdpClosed(f"{method}: the connection is closed")
        number = next(self._ids)
        message: Params = {"id": number, "method": method, "params": params or {}}
        if session is not None:
            message["sessionId"] = session
        reply: asyncio.Future[Params] = asyncio.get_running_loop().create_future()
        # Mark the error as retrieved: a caller that does not await the reply does not need it.
        reply.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._replies[number] = reply, session
        self._transport.write(client_frame(TEXT, json.dumps(message).encode()))
        return reply

    @property
    def closed(self) -> bool:
        """Whether the connection was closed, by Chromium or by us."""
        return self._lost.done()

    async def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            await asyncio.shield(self._lost)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            if self._head.split(b" ", 2)[1:2] != [b"101"]:
                self._give_up(CdpError("Chromium refused the connection"))
                return
            data, self._head = self._head[end + 4 :], None
            if not self._opened.done():
                self._opened.set_result(None)
        for opcode, payload in self._messages.feed(data):
            if opcode == TEXT:
                self._dispatch(json.loads(payload))
            elif opcode == CLOSE:
                self._give_up(CdpClosed("the connection is closed"))
            elif opcode == PING and self._transport is not None:
                self._transport.write(client_frame(PONG, bytes(payload)))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._give_up(CdpClosed("the connection is closed"))
        self._lost.set_result(None)
        for reply, _session in self._replies.values():
            if not reply.done():
                reply.set_exception(CdpClosed("the connection is closed"))
        self._replies.clear()

    def _give_up(self, error: CdpError) -> None:
        if not self._opened.done():
            self._opened.set_exception(error)
        if self._transport is not None:
            self._transport.abort()

    def _dispatch(self, message: Params) -> None:
        if "id" not in message:
            if message["method"] == "Target.detachedFromTarget":
                ended = message["params"]["sessionId"]
                # Fail the pending commands of the session: Chromium does not answer them.
                for number in [number for number, (_reply, session) in self._replies.items() if session == ended]:
                    reply, _session = self._replies.pop(number)
                    if not reply.done():
                        reply.set_exception(CdpError("the session has ended"))
            self._on_event(message["method"], message.get("params", {}), message.get("sessionId"))
            return
        waiting, _session = self._replies.pop(message["id"], (None, None))
        if waiting is None or waiting.done():
            return
        if "error" in message:
            waiting.set_exception(CdpError(message["error"].get("message", "refused")))
        else:
            waiting.set_result(message.get("result", {}))
