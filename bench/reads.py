"""`GET /v1/agents/{id}` per second of one API process, compared with `/healthz` on the same server."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlsplit

from bench.subject import Subject
from bench.table import Row, median

CONNECTIONS = 8
TURNS = 5
SECONDS_A_TURN = 1.0


async def measure(subject: Subject) -> list[Row]:
    """Medians of alternating turns. The client uses the same cores."""
    async with subject.agent() as agent:
        taken: dict[str, list[float]] = {f"/v1/agents/{agent.id}": [], "/healthz": []}
        for _ in range(TURNS):
            for path, rates in taken.items():
                rates.append(await _rate(subject, path))
        read, bare = (median(rates) for rates in taken.values())
    return [Row("GET /v1/agents/{id}, 8 connections", read, "requests/s", bare, "GET /healthz")]


async def _rate(subject: Subject, path: str) -> float:
    started = time.perf_counter()
    counts = await asyncio.gather(*(_connection(subject, path, started) for _ in range(CONNECTIONS)))
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
