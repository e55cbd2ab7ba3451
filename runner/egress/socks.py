"""The egress of a jail: a SOCKS5 server (RFC 1928) of the runner, on a listener in the jail's network namespace.

SOCKS5 has two advantages over an HTTP proxy: http, https and WebSocket all use the same tunnel, without parsing after
the first two messages; and the browser sends host names, which the runner resolves and checks.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from runner.egress.connect import DialError, Refusal, SiteEnd
from runner.egress.dial import Dialer
from runner.egress.own_hosts import OwnSite, connect_own
from runner.egress.upstreams import Route
from runner.splice import Half

log = logging.getLogger("browsa.runner.egress")

# RFC 1928, section 6
_REPLIES = {
    Refusal.POLICY: 2,
    Refusal.NAME: 4,
    Refusal.UNREACHABLE: 4,
    Refusal.REFUSED: 5,
    Refusal.TIMEOUT: 6,
    Refusal.UPSTREAM: 1,
    Refusal.TUNNEL: 1,
}
HANDSHAKE_SECONDS = 10.0

RouteNow = Callable[[], Route | None]
Own = Callable[[], OwnSite | None]
Refused = Callable[[str, int, Refusal], None]  # host, port, why
MAX_HANDSHAKE = 600


class IncompleteHandshake(Exception):
    """More bytes are needed."""


class MalformedHandshake(Exception):
    """Not SOCKS5, or a command or method that this server does not support."""


def parse_greeting(data: bytes) -> int:
    """Length of the client's greeting, which must offer "no authentication".

    Raises IncompleteHandshake or MalformedHandshake.
    """
    if len(data) < 2:
        raise IncompleteHandshake
    if data[0] != 5:
        raise MalformedHandshake("not SOCKS5")
    end = 2 + data[1]
    if len(data) < end:
        raise IncompleteHandshake
    if 0 not in data[2:end]:
        raise MalformedHandshake("no method in common")
    return end


def parse_request(data: bytes) -> tuple[str, int, int]:
    """Host, port and length of a CONNECT request. Raises IncompleteHandshake or MalformedHandshake."""
    if len(data) < 5:
        raise IncompleteHandshake
    if data[0] != 5 or data[1] != 1:
        raise MalformedHandshake("only CONNECT is supported")
    kind = data[3]
    if kind == 3:
        start, length = 5, data[4]
    elif kind in (1, 4):
        start, length = 4, 4 if kind == 1 else 16
    else:
        raise MalformedHandshake("unknown address type")
    end = start + length + 2
    if len(data) < end:
        raise IncompleteHandshake
    raw = data[start : start + length]
    if kind == 3:
        host = raw.decode("ascii", errors="replace")
    else:
        host = socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, raw)
    return host, int.from_bytes(data[end - 2 : end], "big"), end


class BrowserEnd(Half):
    """One connection that a browser opened to its proxy."""

    def __init__(self, dialer: Dialer, route: RouteNow, own: Own, on_refused: Refused) -> None:
        super().__init__()
        self._on_refused = on_refused
        self._own = own
        self._dialer = dialer
        self._route = route
        self._buffer = b""
        self._greeted = False
        self._dialing: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._deadline = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, self.close)

    def data_received(self, data: bytes) -> None:
        if self.peer is not None:
            super().data_received(data)
            return
        self._buffer += data
        if self._dialing is None:
            try:
                self._handshake()
            except IncompleteHandshake:
                if len(self._buffer) > MAX_HANDSHAKE:
                    self.close()
            except MalformedHandshake as error:
                log.debug("a browser sent an unsupported SOCKS message: %s", error)
                self.close()

    def _handshake(self) -> None:
        assert self.transport is not None
        if not self._greeted:
            end = parse_greeting(self._buffer)
            self._buffer = self._buffer[end:]
            self._greeted = True
            self.transport.write(b"\x05\x00")
        host, port, end = parse_request(self._buffer)
        self._buffer = self._buffer[end:]
        if self._deadline is not None:
            self._deadline.cancel()
        self.transport.pause_reading()
        self._dialing = asyncio.get_running_loop().create_task(self._dial(host, port), name="egress-dial")

    async def _dial(self, host: str, port: int) -> None:
        try:
            remote = await self._connect(host, port)
        except DialError as error:
            log.debug("no connection to port %d: %s", port, error)
            self._on_refused(host, port, error.refusal)
            self._answer(_REPLIES[error.refusal])
            self.close()
            return
        if self.transport is None or remote.is_over:
            remote.close()
            self._answer(_REPLIES[Refusal.REFUSED])
            self.close()
            return
        self._answer(0)
        self.join(remote)
        remote.send_early()
        if self._buffer:
            super().data_received(self._buffer)
            self._buffer = b""
        if not self.transport.is_closing():
            self.transport.resume_reading()

    async def _connect(self, host: str, port: int) -> SiteEnd:
        if (sock := connect_own(self._own(), host, port)) is not None:
            _transport, end = await asyncio.get_running_loop().create_connection(SiteEnd, sock=sock)
            return end
        route = self._route()
        if route is None:
            raise DialError(Refusal.POLICY, "the browser has no lease")
        return await self._dialer.dial(host, port, route=route)

    def _answer(self, reply: int) -> None:
        if self.transport is not None:
            self.transport.write(bytes([5, reply, 0, 1, 0, 0, 0, 0, 0, 0]))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if self._dialing is not None and self.peer is None:
            self._dialing.cancel()
        super().connection_lost(exc)


async def serve(
    listener: socket.socket,
    dialer: Dialer,
    route: RouteNow,
    on_refused: Refused = lambda host, port, why: None,
    *,
    own: Own = lambda: None,
) -> asyncio.Server:
    """Accept a browser's connections. `route()` is the lease's route (see `Dialer.dial`), None without a lease.

    `own()` are the pages of the runner that this browser may open now (see `own_hosts`). `on_refused` is for the page
    service; other clients see the errors in CDP events.
    """
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: BrowserEnd(dialer, route, own, on_refused), sock=listener)
