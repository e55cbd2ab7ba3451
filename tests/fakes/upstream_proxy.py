"""Upstream proxies as an operator uses them for another country: HTTP CONNECT, the same inside TLS, and SOCKS5."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal
from urllib.parse import quote

Kind = Literal["http", "https", "socks5"]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class UpstreamProxy:
    """`async with UpstreamProxy("http") as proxy:` tunnels every request, to `destination` if given.

    It wants `user` and `password` if there is a `user`; `user="*"` stands for any credentials. Modes of failure:
    `down()` (nothing listens), `silent` (it answers nothing at all), `stuck` (it answers nothing about a site),
    `answer` (these bytes instead of the tunnel), `hangs_up` (it reads the request and closes), `breaks` (it closes the
    tunnel after the first bytes of the site).
    """

    def __init__(
        self, kind: Kind, *, user: str | None = None, password: str = "", certificate: ssl.SSLContext | None = None
    ) -> None:
        assert (kind == "https") == (certificate is not None)
        self.kind = kind
        self.user, self.password = user, password
        self.destination: tuple[str, int] | None = None
        self.answer: bytes | None = None
        self.silent = self.stuck = False
        self.hangs_up = False
        self.breaks = False
        self.connections = 0
        self.asked: list[str] = []
        self.logins: list[tuple[str, str]] = []
        self.port = 0
        self._certificate = certificate
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> UpstreamProxy:
        await self.up()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.down()

    async def up(self) -> None:
        """Listen, again on the same port."""
        self._server = await asyncio.start_server(
            self._accepted, "127.0.0.1", self.port, ssl=self._certificate, reuse_address=True
        )
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def down(self) -> None:
        """Stop to listen, and close every connection."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        login = ""
        if self.user is not None:
            login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@"
        return f"{self.kind}://{login}127.0.0.1:{self.port}"

    def url_with(self, login: str) -> str:
        return f"{self.kind}://{login}@127.0.0.1:{self.port}"

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        handle = self._socks if self.kind == "socks5" else self._http
        task = asyncio.get_running_loop().create_task(self._serve(handle, reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, handle: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.silent:
                await asyncio.sleep(3600)
            await handle(reader, writer)
        except (OSError, EOFError):
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        target = head.split(" ")[1]
        self.asked.append(target)
        _, _, encoded = head.partition("Proxy-Authorization: Basic ")
        user, _, password = base64.b64decode(encoded.partition("\r\n")[0]).decode().partition(":")
        if not self._knows(user, password):
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n")
            return
        host, _, port = target.rpartition(":")
        yes = b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n"
        await self._answer(host.strip("[]"), int(port), yes, reader, writer)

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        methods = await reader.readexactly((await reader.readexactly(2))[1])
        wanted = 2 if self.user is not None else 0
        if wanted not in methods:
            writer.write(b"\x05\xff")
            return
        writer.write(bytes([5, wanted]))
        if wanted == 2:
            user = await reader.readexactly((await reader.readexactly(2))[1])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            known = self._knows(user.decode(), password.decode())
            writer.write(bytes([1, 0 if known else 1]))
            if not known:
                return
        _version, _command, _zero, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = str(ipaddress.ip_address(await reader.readexactly(16 if kind == 4 else 4)))
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.asked.append(f"[{host}]:{port}" if kind == 4 else f"{host}:{port}")
        await self._answer(host, port, b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", reader, writer)

    def _knows(self, user: str, password: str) -> bool:
        self.logins.append((user, password))
        return self.user in (None, "*") or (user, password) == (self.user, self.password)

    async def _answer(
        self, host: str, port: int, yes: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self.hangs_up:
            return
        if self.answer is not None:
            writer.write(self.answer)
            return
        if host.endswith(".invalid"):
            writer.write(
                b"\x05\x04\x00\x01" + b"\0" * 6 if self.kind == "socks5" else b"HTTP/1.1 502 Bad Gateway\r\n\r\n"
            )
            return
        if self.stuck:
            await asyncio.sleep(3600)
        far_reader, far_writer = await asyncio.open_connection(*(self.destination or (host, port)))
        writer.write(yes)
        try:
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer, most=10 if self.breaks else None))
        finally:
            far_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, most: int | None = None) -> None:
    while data := await reader.read(65536):
        writer.write(data[:most])
        await writer.drain()
        if most is not None:
            raise ConnectionResetError("the tunnel breaks")
    if writer.can_write_eof():
        writer.write_eof()
    else:  # TLS has no half-close
        writer.close()
