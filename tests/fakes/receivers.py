"""Webhook receivers on loopback, of every temper: real HTTP servers in one event loop on a thread of its own.

with Receivers() as receivers:
    shop = receivers.answering(200)
    ...
    assert shop.wait_for(1)[0].headers["webhook-id"] == ...
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import uvloop

from tests.patience import PATIENCE

Writer = asyncio.StreamWriter
# What a receiver does once it has read a request.
Temper = Callable[["Receiver", Writer], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Got:
    """A request as it arrived; header names in lower case. `connection` numbers the receiver's connections."""

    at: float
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass
class Receiver:
    """One server. `temper` may be changed at any moment."""

    temper: Temper
    scheme: str = "http"
    port: int = 0
    got: list[Got] = field(default_factory=list)
    connections: int = 0
    at_once: int = 0
    most_at_once: int = 0
    _news: threading.Condition = field(default_factory=threading.Condition)
    _serving: set[asyncio.Task[None] | None] = field(default_factory=set)

    def url(self, path: str = "/hook", *, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    def wait_for(self, count: int, *, seconds: float = PATIENCE) -> list[Got]:
        """The requests so far, once there are `count`. Raises TimeoutError."""
        with self._news:
            if not self._news.wait_for(lambda: len(self.got) >= count, seconds):
                raise TimeoutError(f"{len(self.got)} of {count} requests came")
            return list(self.got)

    async def serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        self.connections += 1
        number = self.connections
        self._serving.add(asyncio.current_task())  # a loop's own references are weak
        # A cancelled task would make asyncio complain of a handler that failed.
        with suppress(OSError, EOFError, asyncio.CancelledError):
            while not writer.is_closing():
                got = await _request(reader, number)
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                with self._news:
                    self.got.append(got)
                    self._news.notify_all()
                try:
                    await self.temper(self, writer)
                    await writer.drain()
                finally:
                    self.at_once -= 1
        writer.transport.abort()
        self._serving.discard(asyncio.current_task())


async def _request(reader: asyncio.StreamReader, number: int) -> Got:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Got(time.time(), first.split(" ")[1], headers, body, number)


def saying(answer: bytes, *, then_hang_up: bool = False) -> Temper:
    async def say(receiver: Receiver, writer: Writer) -> None:
        writer.write(answer)
        if then_hang_up:
            await writer.drain()
            writer.close()

    return say


def status(code: int, **headers: str) -> Temper:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return saying(f"HTTP/1.1 {code} Said\r\n{lines}Content-Length: 2\r\n\r\nok".encode())


def slowly(seconds: float, temper: Temper) -> Temper:
    async def wait(receiver: Receiver, writer: Writer) -> None:
        await asyncio.sleep(seconds)
        await temper(receiver, writer)

    return wait


class Holding:
    """Lets the first `passing` through and keeps all who come after them, `held` of them, until it is told to
    `let_go`.
    """

    def __init__(self, then: Temper, *, passing: int = 0) -> None:
        self._then = then
        self._passing = passing
        self._over = False
        self.held = 0

    async def __call__(self, receiver: Receiver, writer: Writer) -> None:
        if len(receiver.got) > self._passing:
            self.held += 1
            while not self._over:
                await asyncio.sleep(0.01)
        await self._then(receiver, writer)

    def let_go(self) -> None:
        self._over = True


async def hang(receiver: Receiver, writer: Writer) -> None:
    """Until the other end gives up."""
    await writer.wait_closed()


def in_turn(*tempers: Temper) -> Temper:
    """One after another; the last one stays."""

    async def take_turns(receiver: Receiver, writer: Writer) -> None:
        await tempers[min(len(receiver.got), len(tempers)) - 1](receiver, writer)

    return take_turns


async def endless_body(receiver: Receiver, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
        await writer.drain()


async def huge_headers(receiver: Receiver, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while not writer.is_closing():
        writer.write(b"X-Filler: " + b"x" * 1000 + b"\r\n")
        await writer.drain()


async def endless_interim(receiver: Receiver, writer: Writer) -> None:
    while not writer.is_closing():
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        await writer.drain()


class Receivers:
    """Serves on 127.0.0.1 until the block ends."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="receivers", daemon=True)
        self._servers: list[asyncio.Server] = []

    def __enter__(self) -> Receivers:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def new(self, temper: Temper, *, certificate: ssl.SSLContext | None = None) -> Receiver:
        receiver = Receiver(temper, scheme="https" if certificate else "http")
        asyncio.run_coroutine_threadsafe(self._open(receiver, certificate), self._loop).result()
        return receiver

    def answering(self, code: int, **headers: str) -> Receiver:
        return self.new(status(code, **headers))

    async def _open(self, receiver: Receiver, certificate: ssl.SSLContext | None) -> None:
        server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=certificate, backlog=512)
        receiver.port = int(server.sockets[0].getsockname()[1])
        self._servers.append(server)

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        # What was accepted a moment ago begins to be served: a task that is cancelled before its first step can't
        # suppress that, nor close its connection.
        for _ in range(3):
            await asyncio.sleep(0)
        serving = asyncio.all_tasks() - {asyncio.current_task()}
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await asyncio.sleep(0.01)  # transports close in the next rounds of the loop

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()
