"""The pages that benchmarks load, served by a separate process: `python -m bench.site` prints its port.

`/small` is one document, `/form` a form that submits to it. `/medium` is 190 kB in 31 answers: a document, stylesheets,
scripts and pictures. The server sends fixed answers on bare sockets, to take as little CPU as possible from what is
measured.
"""

from __future__ import annotations

import asyncio
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import uvloop

SMALL = b"<!doctype html><title>A page</title><h1>A page</h1><p>With a little text.</p>"
FORM = b"""<!doctype html><title>A form</title><form action=/small>
<label>Name <input name=name></label><button>Go</button></form>"""
WORDS = b"<p>Some text with <a href='/small'>a link</a> and enough words to be laid out in several lines. "


def png(side: int) -> bytes:
    """A picture of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\x40\x80\xc0" * side) * side
    head = struct.pack("!IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b"")


def answers() -> dict[str, tuple[bytes, bytes]]:
    """Content type and body, by path."""
    pages = {"/small": (b"text/html", SMALL), "/form": (b"text/html", FORM)}
    parts = []
    for number in range(5):
        pages[f"/s{number}.css"] = (b"text/css", b".c%d { color: #234; margin: 1px }\n" % number * 100)
        parts.append(b"<link rel=stylesheet href=/s%d.css>" % number)
    for number in range(5):
        script = b"window.n = (window.n || 0) + %d; // padding padding padding\n" % number * 60
        pages[f"/j{number}.js"] = (b"text/javascript", script)
        parts.append(b"<script src=/j%d.js></script>" % number)
    for number in range(20):
        pages[f"/p{number}.png"] = (b"image/png", png(40))
        parts.append(b"<img src=/p%d.png>" % number)
    pages["/medium"] = (b"text/html", b"<!doctype html><title>Medium</title>" + b"".join(parts) + WORDS * 550)
    return pages


class Connection(asyncio.Protocol):
    """Answers single or pipelined GETs until the client disconnects."""

    def __init__(self, canned: dict[bytes, bytes]) -> None:
        self._canned = canned
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _end, self._buffer = self._buffer.partition(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].partition(b"?")[0]
            self._transport.write(self._canned.get(path, self._canned[b"/small"]))  # type: ignore[attr-defined]


async def serve() -> None:
    canned = {
        path.encode(): b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\nCache-Control: no-store\r\n\r\n%s"
        % (kind, len(body), body)
        for path, (kind, body) in answers().items()
    }
    server = await asyncio.get_running_loop().create_server(lambda: Connection(canned), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    # Standard input ends when the parent process ends.
    await asyncio.to_thread(sys.stdin.read)


@contextmanager
def running() -> Iterator[int]:
    """Run the site during the block. Yields its port."""
    command = [sys.executable, "-m", "bench.site"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("no pipes")
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


if __name__ == "__main__":
    uvloop.run(serve())
