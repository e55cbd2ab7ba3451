"""One viewer's WebSocket, after its handshake. A slow viewer skips frames."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol, State

from runner.live.messages import MAX_MESSAGE, Input, InvalidMessage, Mode, encode_message, parse
from runner.live.pacing import Allowance, Outbox

ENDED, REFUSED, FAILED, LATER = 4001, 1008, 1011, 1013  # close codes (RFC 6455, 7.4); 4001 is for applications
CLOSE_SECONDS = 5.0
UNSENT_BYTES = 64 * 1024  # the most to queue in the kernel: more would be seconds old when it arrives
UNREAD_BYTES = 4 * 2**20  # a viewer with more unread data, pongs included, is disconnected
MISSED_HEARTBEATS = 3


class Viewer(asyncio.Protocol):
    """`on_input` gets the input of a controlling viewer. `on_gone` is called once, when the connection is closed."""

    def __init__(
        self, mode: Mode, on_input: Callable[[Viewer, Input], None], on_gone: Callable[[Viewer], None]
    ) -> None:
        self.mode = mode
        self._on_input = on_input
        self._on_gone = on_gone
        self._protocol = Protocol(SERVER, max_size=MAX_MESSAGE)
        self._outbox = Outbox()
        self._allowance = Allowance(asyncio.get_running_loop().time())
        self._transport: asyncio.Transport | None = None
        self._full = False
        self._missed_heartbeats = 0
        self._message = b""

    def take_over(self, transport: asyncio.Transport, early: bytes) -> None:
        """Use a connection after its handshake; `early` is what has already arrived."""
        self._transport = transport
        sock = transport.get_extra_info("socket")
        if (option := getattr(socket, "TCP_NOTSENT_LOWAT", None)) is not None:
            with suppress(OSError):  # not a TCP socket
                sock.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES)
        transport.set_write_buffer_limits(high=0)
        transport.set_protocol(self)
        self._pump()
        if early:
            self.data_received(early)

    def send(self, message: str) -> None:
        self._outbox.add(message)
        self._pump()

    def send_state(self, state: str) -> None:
        self._outbox.set_state(state)
        self._pump()

    def send_frame(self, frame: bytes) -> None:
        self._outbox.set_frame(frame)
        self._pump()

    def heartbeat(self) -> None:
        """Send a ping and a message: proxies close idle connections, and a peer may vanish without closing."""
        self._missed_heartbeats += 1
        if self._missed_heartbeats > MISSED_HEARTBEATS:
            self._abort()
        elif self._open:
            self._protocol.send_ping(b"")
            self._protocol.send_text(encode_message("beat").encode())
            self._flush()

    def close(self, code: int, reason: str, *, last: str | None = None) -> None:
        """Close the connection, after a `last` message."""
        if not self._open:
            return
        if last is not None:
            self._protocol.send_text(last.encode())
        self._protocol.send_close(code, reason)
        self._flush()
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._abort)

    @property
    def _open(self) -> bool:
        return self._transport is not None and self._protocol.state is State.OPEN

    def data_received(self, data: bytes) -> None:
        self._missed_heartbeats = 0
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and self._open:
                self._handle_frame(event)
        self._flush()

    def _handle_frame(self, frame: Frame) -> None:
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return  # handled by the protocol
        if self.mode != "control":
            self.close(REFUSED, "this link is view-only")
            return
        if frame.opcode is Opcode.BINARY:
            self.close(REFUSED, "binary messages are not supported")
            return
        self._message += frame.data
        if not frame.fin:
            return
        message, self._message = self._message, b""
        try:
            if not self._allowance.take(asyncio.get_running_loop().time()):
                raise InvalidMessage("too much input")
            done = parse(message.decode())
        except UnicodeDecodeError:
            self.close(REFUSED, "not UTF-8")
        except InvalidMessage as error:
            self.close(REFUSED, str(error))
        else:
            self._on_input(self, done)

    def eof_received(self) -> bool:
        self._protocol.receive_eof()
        self._flush()
        return False

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._pump()

    def _pump(self) -> None:
        while self._open and not self._full and len(self._outbox):
            message = self._outbox.next()
            if isinstance(message, bytes):
                self._protocol.send_binary(message)
            else:
                self._protocol.send_text(message.encode())
            self._flush()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if self._transport is None:
                return
            if data:
                self._transport.write(data)
            else:
                self._transport.close()
        if self._transport is not None and self._transport.get_write_buffer_size() > UNREAD_BYTES:
            self._abort()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._on_gone(self)
