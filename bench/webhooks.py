"""Deliveries per second of the stack's worker, compared with a plain loop that posts the same bodies; and how much
failing receivers delay deliveries to healthy ones.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence

import httpx

from bench.receivers import Ports
from bench.subject import Subject
from bench.table import Row, median

BURST = 200  # events, each delivered to all healthy receivers
TURNS = 3
BASELINE_CONNECTIONS = 32
PACED, PER_SECOND = 60, 20.0
PATIENCE = 120.0
_BODY = (
    b'{"id": "evt_00000000000000000000000000000000", "type": "agent.destroyed", "created_at":'
    b' "2026-06-09T08:12:44.523Z", "workspace_id": "252e8eac-ea4f-415c-bd8f-242e33c78422", "data": {"mode": "burner",'
    b' "reason": "expired", "agent_id": "agt_00000000000000000000", "destroyed_at": "2026-06-09T08:12:44Z"}}'
)


async def measure(subject: Subject, ports: Ports) -> list[Row]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports.control}", trust_env=False) as control:
        healthy = await _register(subject, ports.healthy)
        ours, plain = [], []
        for _ in range(TURNS):
            ours.append(await _burst(subject, control, len(ports.healthy)))
            plain.append(await _plain(ports.healthy))
        await _remove(subject, healthy)
        healthy = await _register(subject, ports.healthy[:12])
        alone, beside = [], []
        for _ in range(TURNS):
            alone.append(await _paced(subject, control, 12))
            failing = await _register(subject, ports.failing)
            beside.append(await _paced(subject, control, 12))
            await _remove(subject, failing)
        await _remove(subject, healthy)
    return [
        Row("webhook deliveries, 20 receivers", median(ours), "1/s", median(plain), "httpx loop", 300, at_least=True),
        Row("event to a healthy receiver beside 8 failing ones", median(beside), "ms", median(alone), "without them"),
    ]


async def _register(subject: Subject, ports: Sequence[int]) -> list[str]:
    ids = []
    for port in ports:
        answer = await subject.client.post("/v1/webhooks", json={"url": f"http://127.0.0.1:{port}/hook"})
        answer.raise_for_status()
        ids.append(answer.json()["id"])
    return ids


async def _remove(subject: Subject, ids: Sequence[str]) -> None:
    for webhook_id in ids:
        (await subject.client.delete(f"/v1/webhooks/{webhook_id}")).raise_for_status()


async def _events(subject: Subject, count: int, per_second: float) -> float:
    """Record events. Returns the time of the last commit."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.events", str(count), str(per_second)),
        env={**os.environ, "BROWSA_HOME": str(subject.stack.home)},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError("bench.events failed")
    return float(out)


async def _seen(control: httpx.AsyncClient, wanted: int) -> tuple[float, float]:
    """Wait for `wanted` deliveries. Returns their weighted median delay in seconds and the time of the last one."""
    count, delays, last = 0, [], 0.0
    async with asyncio.timeout(PATIENCE):
        while count < wanted:
            seen = (await control.get("/")).json()
            count += seen["count"]
            delays += [seen["median"]] * seen["count"]
            last = max(last, seen["last"])
            await asyncio.sleep(0.1)
    return median(delays), last


async def _burst(subject: Subject, control: httpx.AsyncClient, receivers: int) -> float:
    await control.get("/")  # discards earlier deliveries
    committed = await _events(subject, BURST, 0)
    _, last = await _seen(control, BURST * receivers)
    return BURST * receivers / (last - committed)


async def _paced(subject: Subject, control: httpx.AsyncClient, receivers: int) -> float:
    await control.get("/")
    await _events(subject, PACED, PER_SECOND)
    delay, _ = await _seen(control, PACED * receivers)
    return delay * 1000


async def _plain(ports: Sequence[int]) -> float:
    """Deliveries per second of a loop that posts the same number of bodies, without database and signatures."""
    urls = [f"http://127.0.0.1:{port}/hook" for port in ports] * BURST
    total = len(urls)

    async def post(client: httpx.AsyncClient) -> None:
        while urls:
            (await client.post(urls.pop(), content=_BODY)).raise_for_status()

    keep_all = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(trust_env=False, timeout=15, limits=keep_all) as client:
        begun = time.perf_counter()
        await asyncio.gather(*(post(client) for _ in range(BASELINE_CONNECTIONS)))
        return total / (time.perf_counter() - begun)
