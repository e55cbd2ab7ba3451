"""One-call pages against raw CDP: latency of one at a time, throughput of many, and what a page costs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import psutil

from bench.raw import RawShell
from bench.subject import Subject
from bench.table import Row, median

SINGLES = 40
TURNS = 3
PAGES_A_TURN = 60
CONCURRENCIES = (2, 4, 8, 64)
RAW_CONCURRENCY = 4
BATCH_URLS = 300

Fetch = Callable[[str], Awaitable[None]]


async def measure(subject: Subject, site: str, *, environ: Mapping[str, str]) -> list[Row]:
    async with RawShell.running(environ) as raw:
        for _ in range(10):
            await _scrape(subject, f"{site}/small")
            await raw.fetch(f"{site}/small")
        rows = await _latency(subject, raw, f"{site}/small")
        rows += await _throughput(subject, raw, site)
        rows.append(await _batch(subject, raw, f"{site}/small"))
        return rows


async def _scrape(subject: Subject, url: str) -> None:
    answer = await subject.client.post("/v1/quick/scrape", json={"url": url})
    answer.raise_for_status()


async def _latency(subject: Subject, raw: RawShell, url: str) -> list[Row]:
    ours, cold, ahead = [], [], []
    for _ in range(SINGLES):
        ours.append(await _timed(_scrape(subject, url)))
        await asyncio.sleep(0.15)  # what we do once our answer is out must not slow the others down
        cold.append(await _timed(raw.fetch(url)))
        tab = await raw.open()
        await asyncio.sleep(0.05)  # both sides get the time in which a tab ahead of time is made
        ahead.append(await _timed(raw.load(tab, url)))
        await raw.dispose(tab)
        await asyncio.sleep(0.05)
    ours_ms, cold_ms, ahead_ms = median(ours), median(cold), median(ahead)
    name = "POST /v1/quick/scrape, small page, p50"
    return [
        Row(name, ours_ms, "ms", cold_ms, "raw, context made cold", target=0.8, of_ratio=True),
        Row(name, ours_ms, "ms", ahead_ms, "raw, context made ahead", target=2.0, of_ratio=True),
    ]


async def _timed(work: Awaitable[Any]) -> float:
    started = time.perf_counter()
    await work
    return (time.perf_counter() - started) * 1000


async def _throughput(subject: Subject, raw: RawShell, site: str) -> list[Row]:
    """Turns of raw and ours at each concurrency; then the same with the medium page, and what a page cost."""
    stack = psutil.Process(subject.stack.process.pid)
    rates: dict[int, list[float]] = {count: [] for count in CONCURRENCIES}
    raws: list[float] = []
    spent = {"ours": 0.0, "raw": 0.0}
    for _ in range(TURNS):
        before = _cpu(raw.processes())
        raws.append(await _rate(raw.fetch, f"{site}/small", RAW_CONCURRENCY))
        spent["raw"] += _cpu(raw.processes()) - before
        for count in CONCURRENCIES:
            before = _cpu(_family(stack))
            rates[count].append(await _rate(lambda url: _scrape(subject, url), f"{site}/small", count))
            spent["ours"] += _cpu(_family(stack)) - before
    medium = [await _rate(lambda url: _scrape(subject, url), f"{site}/medium", 4) for _ in range(TURNS)]
    medium_raw = [await _rate(raw.fetch, f"{site}/medium", RAW_CONCURRENCY) for _ in range(TURNS)]
    base = f"raw, {RAW_CONCURRENCY} at once"
    rows = [
        _at_least(f"small pages, {count} at once", median(rates[count]), median(raws), base, 0.8)
        for count in CONCURRENCIES
    ]
    rows.append(
        _at_least("medium pages (190 kB, 30 resources), 4 at once", median(medium), median(medium_raw), base, 0.8)
    )
    pages = TURNS * PAGES_A_TURN
    rows.append(
        Row(
            "CPU of a small page, whole stack",
            spent["ours"] / pages / len(CONCURRENCIES),
            "s",
            spent["raw"] / pages,
            "raw shell",
        )
    )
    rows.append(
        Row(
            "memory (PSS) of the shell that loads pages",
            _shell_memory(subject),
            "MiB",
            _pss(raw.processes()),
            "raw shell",
        )
    )
    return rows


def _at_least(name: str, value: float, baseline: float, base: str, target: float) -> Row:
    return Row(name, value, "pages/s", baseline, base, target=target, of_ratio=True, at_least=True)


async def _rate(fetch: Fetch, url: str, count: int) -> float:
    places = asyncio.Semaphore(count)

    async def one() -> None:
        async with places:
            await fetch(url)

    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(PAGES_A_TURN)))
    return PAGES_A_TURN / (time.perf_counter() - started)


async def _batch(subject: Subject, raw: RawShell, url: str) -> Row:
    """A batch from its POST until it is completed, against as many raw pages."""
    started = time.perf_counter()
    body = {"urls": [f"{url}?{number}" for number in range(BATCH_URLS)], "formats": ["html"]}
    job = (await subject.client.post("/v1/quick/batch", json=body)).raise_for_status().json()
    while job["status"] in ("queued", "running"):
        answer = await subject.client.get(f"/v1/jobs/{job['id']}", params={"wait": 60}, timeout=90)
        job = answer.raise_for_status().json()
    ours = BATCH_URLS / (time.perf_counter() - started)
    if job["progress_done"] != BATCH_URLS or job["status"] != "completed":
        raise RuntimeError(f"the batch ended {job['status']} with {job['progress_done']} pages")
    raws = [await _rate(raw.fetch, url, RAW_CONCURRENCY) for _ in range(TURNS)]
    return _at_least(f"batch of {BATCH_URLS} small pages", ours, median(raws), f"raw, {RAW_CONCURRENCY} at once", 0.85)


def _family(root: psutil.Process) -> list[psutil.Process]:
    return [root, *root.children(recursive=True)]


def _cpu(processes: list[psutil.Process]) -> float:
    """CPU seconds that these processes, and children that they have waited for, have used."""
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
            total += times.user + times.system
        except psutil.NoSuchProcess:
            continue
    return total


def _pss(processes: list[psutil.Process]) -> float:
    return sum(float(p.memory_full_info().pss) for p in processes if p.is_running()) / 2**20


def _shell_memory(subject: Subject) -> float:
    runner = psutil.Process(subject.stack.pids["runner"])
    shells = [p for p in runner.children() if "--block-new-web-contents" in p.cmdline()]
    return sum(_pss(_family(shell)) for shell in shells)
