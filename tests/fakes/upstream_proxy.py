"""Proxies as an operator would have them in another country: HTTP CONNECT and SOCKS5, with or without a password."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
from typing import Literal

Kind = Literal["http", "socks5"]


class UpstreamProxy:
    """`async with UpstreamProxy("http") as proxy:` tunnels whatever it is asked for, to `destination` if given."""

    def __init__(self, kind: Kind, *, user: str | None = None, password: str = "") -> None:
        self.kind = kind
        self.user, self.password = user, password
        self.destination: tuple[str, int] | None = None
        self.answer: bytes | None = None  # instead of the tunnel
        self.silent = False
        self.asked: list[str] = []

    async def __aenter__(self) -> UpstreamProxy:
        handle = self._http if self.kind == "http" else self._socks
        self._tasks: set[asyncio.Task[None]] = set()

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(self._serve(handle, reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._server = await asyncio.start_server(accepted, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        login = f"{self.user}:{self.password}@" if self.user is not None else ""
        return f"{self.kind}://{login}127.0.0.1:{self.port}"

    async def _serve(self, handle, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # type: ignore[no-untyped-def]
        try:
            await handle(reader, writer)
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        target = head.split(" ")[1]
        self.asked.append(target)
        if self.silent:
            await asyncio.sleep(3600)
        login = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if self.user is not None and f"Proxy-Authorization: Basic {login}\r\n" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return
        if self.answer is not None:
            writer.write(self.answer)
            return
        host, _, port = target.rpartition(":")
        await self._tunnel(host.strip("[]"), int(port), b"HTTP/1.1 200 Connection established\r\n\r\n", reader, writer)

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        methods = await reader.readexactly((await reader.readexactly(2))[1])
        if self.silent:
            await asyncio.sleep(3600)
        wanted = 2 if self.user is not None else 0
        if wanted not in methods:
            writer.write(b"\x05\xff")
            return
        writer.write(bytes([5, wanted]))
        if wanted == 2:
            user = await reader.readexactly((await reader.readexactly(2))[1])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            known = (user.decode(), password.decode()) == (self.user, self.password)
            writer.write(bytes([1, 0 if known else 1]))
            if not known:
                return
        _version, _command, _zero, kind = await reader.readexactly(4)
        address = ipaddress.ip_address(await reader.readexactly(16 if kind == 4 else 4))
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.asked.append(f"[{address}]:{port}" if kind == 4 else f"{address}:{port}")
        if self.answer is not None:
            writer.write(self.answer)
            return
        await self._tunnel(str(address), port, b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", reader, writer)

    async def _tunnel(
        self, host: str, port: int, yes: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        far_reader, far_writer = await asyncio.open_connection(*(self.destination or (host, port)))
        writer.write(yes)
        try:
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        finally:
            far_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
