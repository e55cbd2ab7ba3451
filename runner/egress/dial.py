"""Open the outgoing connection that a browser requests: resolve once, check the address, connect to that address.

If the country has an upstream proxy, the connection goes through it. The proxy gets the checked address, so that it
does not resolve the name again to another one. The policy does not apply to the proxy's own address.
"""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import Awaitable, Callable
from enum import Enum
from urllib.parse import SplitResult, unquote, urlsplit

from addresses.policy import Address, AllowRule, is_permitted, parse_address, unmapped

CONNECT_SECONDS = 10.0
RESOLVE_SECONDS = 10.0
MAX_ADDRESSES = 4
MAX_REPLY = 16 * 1024

Resolver = Callable[[str], Awaitable[list[Address]]]


class Refusal(Enum):
    """Why a connection failed; the values are for log and error texts."""

    POLICY = "refused by the address policy"
    NAME = "name not resolved"
    REFUSED = "connection refused"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timed out"
    UPSTREAM = "the country's proxy failed"


class DialError(Exception):
    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        super().__init__(f"{refusal.value}{': ' + detail if detail else ''}")
        self.refusal = refusal


async def resolve(host: str) -> list[Address]:
    """Every address of `host`, in the system's order. Raises DialError."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            infos = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError) as error:
        raise DialError(Refusal.NAME, host) from error
    found = [parse_address(str(info[4][0])) for info in infos]
    return [address for address in dict.fromkeys(found) if address is not None]


class Dialer:
    """Outgoing connections under one address policy."""

    def __init__(self, allow: tuple[AllowRule, ...], *, resolver: Resolver = resolve) -> None:
        self._allow = allow
        self._resolve = resolver

    async def dial(self, host: str, port: int, *, route: str) -> socket.socket:
        """A connected non-blocking socket. `route` is "direct" or an upstream proxy's URL. Raises DialError."""
        literal = parse_address(host)
        found = [literal] if literal is not None else await self._resolve(host)
        if not found:
            raise DialError(Refusal.NAME, host)
        permitted = [unmapped(address) for address in found if is_permitted(address, port, self._allow)]
        if not permitted:
            raise DialError(Refusal.POLICY, host)
        failure = DialError(Refusal.UNREACHABLE, host)
        for address in permitted[:MAX_ADDRESSES]:
            try:
                if route != "direct":
                    return await _through(urlsplit(route), address, port)
                sock = await connect(str(address), port)
            except DialError as error:
                failure = error
                continue
            # Connections to this machine's own public address bypass its firewall.
            itself = sock.getsockname()[0] == sock.getpeername()[0]
            if not itself or any(rule.permits(address, port) for rule in self._allow):
                return sock
            sock.close()
            failure = DialError(Refusal.POLICY, "this machine")
        raise failure


async def connect(address: str, port: int) -> socket.socket:
    """A TCP connection to a literal address. Raises DialError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException as error:
        sock.close()
        if isinstance(error, ConnectionRefusedError):
            raise DialError(Refusal.REFUSED, f"{address}:{port}") from error
        if isinstance(error, TimeoutError):
            raise DialError(Refusal.TIMEOUT, f"{address}:{port}") from error
        if isinstance(error, OSError):
            raise DialError(Refusal.UNREACHABLE, f"{address}:{port}") from error
        raise
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


async def _through(upstream: SplitResult, address: Address, port: int) -> socket.socket:
    """A tunnel to `address` through the operator's proxy. Raises DialError."""
    assert upstream.hostname is not None and upstream.port is not None  # checked when the settings were read
    try:
        proxy = parse_address(upstream.hostname) or (await resolve(upstream.hostname))[0]
        sock = await connect(str(proxy), upstream.port)
    except DialError as error:
        raise DialError(Refusal.UPSTREAM, str(error)) from error
    handshake = _http_connect if upstream.scheme == "http" else _socks5
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await handshake(sock, upstream, address, port)
    except BaseException as error:
        sock.close()
        if isinstance(error, (OSError, TimeoutError, EOFError)):
            raise DialError(Refusal.UPSTREAM, str(error)) from error
        raise
    return sock


async def _http_connect(sock: socket.socket, upstream: SplitResult, address: Address, port: int) -> None:
    """RFC 9110, 9.3.6."""
    target = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    request = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
    if upstream.username is not None:
        pair = f"{unquote(upstream.username)}:{unquote(upstream.password or '')}"
        request += f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n"
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, f"{request}\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        # Byte by byte: what follows the blank line is data for the browser.
        byte = await loop.sock_recv(sock, 1)
        if not byte or len(head) > MAX_REPLY:
            raise EOFError("no answer to CONNECT")
        head += byte
    status = head.split(b" ", 2)[1:2]
    if status != [b"200"]:
        raise DialError(Refusal.UPSTREAM, f"CONNECT answered {b''.join(status).decode(errors='replace')}")


async def _socks5(sock: socket.socket, upstream: SplitResult, address: Address, port: int) -> None:
    """RFC 1928, and RFC 1929 when the URL has a user."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, b"\x05\x01\x02" if upstream.username is not None else b"\x05\x01\x00")
    method = (await _exactly(sock, 2))[1]
    if method == 2 and upstream.username is not None:
        user, password = unquote(upstream.username).encode(), unquote(upstream.password or "").encode()
        await loop.sock_sendall(sock, bytes([1, len(user)]) + user + bytes([len(password)]) + password)
        if (await _exactly(sock, 2))[1] != 0:
            raise DialError(Refusal.UPSTREAM, "authentication failed")
    elif method != 0:
        raise DialError(Refusal.UPSTREAM, "no common authentication method")
    kind = 4 if address.version == 6 else 1
    await loop.sock_sendall(sock, bytes([5, 1, 0, kind]) + address.packed + port.to_bytes(2, "big"))
    reply = await _exactly(sock, 4)
    if reply[1] != 0:
        raise DialError(Refusal.UPSTREAM, f"SOCKS answered {reply[1]}")
    length = {1: 4, 4: 16}.get(reply[3]) or (await _exactly(sock, 1))[0]
    await _exactly(sock, length + 2)


async def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = await asyncio.get_running_loop().sock_recv(sock, count - len(data))
        if not chunk:
            raise EOFError("the proxy closed the connection")
        data += chunk
    return data
