"""Webhook receivers in a separate process: `python -m bench.receivers` prints their ports as JSON.

Healthy receivers answer 200 at once. Failing ones are slow, answer 500, or never answer. The control port returns what
the healthy ones received since the last request. Receivers send fixed answers on bare sockets, to take as little CPU as
possible from what is measured.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

import uvloop

HEALTHY = 20
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_BROKEN = b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno"
_STAMP = b'"created_at": "'

Answer = Callable[[], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Ports:
    healthy: list[int]
    failing: list[int]
    control: int

    @property
    def all(self) -> list[int]:
        return [*self.healthy, *self.failing]


@contextmanager
def running() -> Iterator[Ports]:
    command = [sys.executable, "-m", "bench.receivers"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Ports(**json.loads(process.stdout.readline()))
        finally:
            process.terminate()


class Seen:
    """What the healthy receivers got."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self.last = 0.0

    def note(self, body: bytes) -> None:
        self.last = time.time()
        begin = body.find(_STAMP) + len(_STAMP)
        self.delays.append(self.last - datetime.fromisoformat(body[begin : begin + 24].decode()).timestamp())

    def summary(self) -> bytes:
        median = statistics.median(self.delays) if self.delays else 0.0
        return json.dumps({"count": len(self.delays), "median": median, "last": self.last}).encode()


async def _serve(seen: Seen | None, answer: Answer) -> int:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or b"0")
                body = await reader.readexactly(length)
                if seen is not None:
                    seen.note(body)
                writer.write(await answer())
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=512)
    asyncio.get_running_loop().create_task(server.serve_forever())
    return int(server.sockets[0].getsockname()[1])


def _after(seconds: float, answer: bytes) -> Answer:
    async def wait() -> bytes:
        if seconds:
            await asyncio.sleep(seconds)
        return answer

    return wait


async def main() -> None:
    seen = Seen()

    async def tell() -> bytes:
        body = seen.summary()
        seen.delays = []
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    healthy = [await _serve(seen, _after(0, _OK)) for _ in range(HEALTHY)]
    behaviours = [(0.5, _OK)] * 3 + [(0, _BROKEN)] * 3 + [(3600, _OK)] * 2
    failing = [await _serve(None, _after(seconds, answer)) for seconds, answer in behaviours]
    print(json.dumps({"healthy": healthy, "failing": failing, "control": await _serve(None, tell)}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
