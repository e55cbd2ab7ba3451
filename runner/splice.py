"""Two transports joined byte for byte: what the egress and the gateway do once they have decided.

Back-pressure goes through: when one end does not read, the other is not read from. Buffers stay below
`HIGH_WATER` plus one read.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import cast

HIGH_WATER = 2 * 2**20


class Half(asyncio.Protocol):
    """One end of a splice. Subclasses look at the first bytes; after `join` it only passes bytes on."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.peer: Half | None = None
        self.got_eof = False  # the other end has said all that it has to say

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.write(data)

    def eof_received(self) -> bool:
        """Pass a half-close on; keep our own side open for what the other end still has to say, if anything."""
        self.got_eof = True
        if self.peer is None or self.peer.transport is None or self.peer.got_eof:
            return False
        if self.peer.transport.can_write_eof():
            with suppress(OSError, RuntimeError):  # the other end may have hung up in the same moment
                self.peer.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        peer, self.peer, self.transport = self.peer, None, None
        if peer is not None and peer.transport is not None:
            peer.peer = None
            peer.transport.close()

    def join(self, peer: Half) -> None:
        self.peer, peer.peer = peer, self

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


def notice_dead_peers(sock: socket.socket, *, idle: int = 30, patience: int = 60) -> None:
    """Have the kernel find out, in about `idle + patience` seconds, that the other end vanished without a word."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", idle),
        ("TCP_KEEPINTVL", max(1, patience // 6)),
        ("TCP_KEEPCNT", 6),
        ("TCP_USER_TIMEOUT", patience * 1000),  # sent, and never acknowledged
    ):
        option = getattr(socket, name, None)  # not every system has every one
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
