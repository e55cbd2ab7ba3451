"""Reads per second of one API process: `/healthz`, and an agent, on one connection and on eight."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple
from urllib.parse import urlsplit

from bench.subject import Subject
from bench.table import Row, median

CONNECTIONS = 8
TURNS = 5
SECONDS_A_TURN = 1.0


class Load(NamedTuple):
    path: str
    connections: int


async def measure(subject: Subject) -> list[Row]:
    """Medians of alternating turns. The client uses the same cores."""
    async with subject.agent() as agent:
        await subject.warm()  # the agent came from the pool, which starts another browser
        read = f"/v1/agents/{agent.id}"
        loads = [Load(path, connections) for path in (read, "/healthz") for connections in (1, CONNECTIONS)]
        rates: dict[Load, list[float]] = {load: [] for load in loads}
        for _ in range(TURNS):
            for load in loads:
                rates[load].append(await _rate(subject, load))
        one_read, reads, one_bare, bare = (median(rates[load]) for load in loads)
    name = "GET /healthz"
    return [
        Row("GET /healthz, 1 connection", one_bare, "requests/s", target=1000, at_least=True),
        Row("GET /v1/agents/{id}, 1 connection", one_read, "requests/s", one_bare, name, target=450, at_least=True),
        Row(
            f"GET /v1/agents/{{id}}, {CONNECTIONS} connections",
            reads,
            "requests/s",
            bare,
            name,
            target=700,
            at_least=True,
        ),
    ]


async def _rate(subject: Subject, load: Load) -> float:
    started = time.perf_counter()
    counts = await asyncio.gather(*(_connection(subject, load.path, started) for _ in range(load.connections)))
    return sum(counts) / (time.perf_counter() - started)


async def _connection(subject: Subject, path: str, started: float) -> int:
    """Requests answered on one keep-alive connection. A bare socket: an HTTP client would take the API's CPU."""
    address = urlsplit(subject.stack.api_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    request = f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nX-API-Key: {subject.stack.api_key}\r\n\r\n".encode()
    count = 0
    while time.perf_counter() - started < SECONDS_A_TURN:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(head.decode(errors="replace"))
        await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
        count += 1
    writer.close()
    return count
