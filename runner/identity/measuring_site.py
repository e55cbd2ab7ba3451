"""The pages of the runner on which a browser is measured, and what the server sees of that browser.

A connection is one end of a socket pair; the egress has the other end. Nothing listens on a port.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from pathlib import Path
from typing import Any

from aiohttp import web

from runner.identity import client_hello
from runner.identity.client_hello import ClientHello, IncompleteHello, MalformedHello

log = logging.getLogger("browsa.runner.measuring")

FOLDER = Path(__file__).parent
SCRIPT = (FOLDER / "measure.js").read_text()
REALM_SCRIPT = SCRIPT.partition("const SOURCE")[0]


def page_of(script: str) -> str:
    # The icon keeps the browser from asking for /favicon.ico.
    return f'<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><body><script>{script}</script>'


MEASURING_PAGE = page_of(SCRIPT + (FOLDER / "send.js").read_text())
TLS_PORT = 443
MAX_RESULT = 256 * 1024


class MeasuringSite:
    """Serves one browser. `seen` is done with what the page read, or with the error that it had."""

    def __init__(self) -> None:
        self.seen: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.headers: list[tuple[str, str]] = []  # of the first request, in order
        self.hello: ClientHello | None = None  # of the first connection with TLS
        self._server = web.Server(self._handle)
        self._tasks: set[asyncio.Task[Any]] = set()

    def connect(self, host: str, port: int) -> socket.socket:
        theirs, ours = socket.socketpair()
        for end in (theirs, ours):
            end.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._accept(ours, port), name="measuring-connection")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return theirs

    async def _accept(self, sock: socket.socket, port: int) -> None:
        protocol = (lambda: HelloReader(self)) if port == TLS_PORT else self._server
        await asyncio.get_running_loop().connect_accepted_socket(protocol, sock)

    async def close(self) -> None:
        await self._server.shutdown(timeout=0.1)  # 0 would be no limit

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "POST":
            self._take(await request.content.read(MAX_RESULT))
            return web.Response(status=204)
        if not self.headers:
            self.headers = [(name.decode(), value.decode("latin-1")) for name, value in request.raw_headers]
        return web.Response(text=MEASURING_PAGE, content_type="text/html", headers={"Cache-Control": "no-store"})

    def _take(self, body: bytes) -> None:
        if self.seen.done():
            return
        result = json.loads(body)
        if "error" in result:
            self.seen.set_exception(RuntimeError(result["error"]))
        else:
            self.seen.set_result(result)


class HelloReader(asyncio.Protocol):
    """Reads the ClientHello of a connection, and closes it: the handshake need not complete."""

    def __init__(self, site: MeasuringSite) -> None:
        self._site = site
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        try:
            hello = client_hello.parse(self._data)
        except IncompleteHello:
            return
        except MalformedHello as error:
            log.warning("a measured browser sent no ClientHello: %s", error)
        else:
            self._site.hello = self._site.hello or hello
        self._transport.close()
