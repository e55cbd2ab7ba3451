"""Quick pages against raw CDP: latency of single pages, throughput of many, CPU and memory of a page."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from bench.raw import RawShell
from bench.subject import Subject
from bench.table import Row, median

SINGLES = 40
TURNS = 5
PAGES_A_TURN = 40
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
        await asyncio.sleep(0.15)  # the work that follows an answer must not slow the baseline down
        cold.append(await _timed(raw.fetch(url)))
        tab = await raw.open()
        await asyncio.sleep(0.05)  # time to make a tab ahead, for both sides
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
    """Small pages at each concurrency, and medium ones; then CPU and memory of a small page.

    Turns are short, with a raw turn right before and after each of Browsa's. So the median of the ratios holds even on
    a machine whose speed changes.
    """
    small, medium = f"{site}/small", f"{site}/medium"
    series = [(small, CONCURRENCIES), (medium, (RAW_CONCURRENCY,))]
    turns: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    spent: dict[str, list[float]] = {"ours": [], "raw": []}
    for _ in range(TURNS):
        for url, concurrencies in series:
            before = await _turn(raw.fetch, url, RAW_CONCURRENCY)
            for count in concurrencies:
                ours = await _turn(lambda url: _scrape(subject, url), url, count)
                after = await _turn(raw.fetch, url, RAW_CONCURRENCY)
                turns[url, count].append((ours.rate, (before.rate + after.rate) / 2))
                if url == small:
                    spent["ours"].append(ours.cpu)
                    spent["raw"].append((before.cpu + after.cpu) / 2)
                before = after
    rows = [_at_least(f"small pages, {count} at once", turns[small, count], 0.8) for count in CONCURRENCIES]
    name = f"medium pages (190 kB, 30 resources), {RAW_CONCURRENCY} at once"
    rows.append(_at_least(name, turns[medium, RAW_CONCURRENCY], 0.8))
    cpu = {name: sum(seconds) / len(seconds) for name, seconds in spent.items()}
    rows.append(Row("CPU of a small page, whole machine", cpu["ours"], "s", cpu["raw"], "raw shell"))
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


def _at_least(name: str, turns: Sequence[tuple[float, float]], target: float) -> Row:
    """A row with a lower bound, from the pages per second of Browsa and of the raw shell in each turn."""
    return Row(
        name,
        median([ours for ours, _raw in turns]),
        "pages/s",
        median([raw for _ours, raw in turns]),
        f"raw, {RAW_CONCURRENCY} at once",
        target=target,
        of_ratio=True,
        at_least=True,
        of_pairs=median([ours / raw for ours, raw in turns]),
    )


@dataclass(frozen=True, slots=True)
class Turn:
    """Pages per second, and CPU seconds per page."""

    rate: float
    cpu: float


async def _turn(fetch: Fetch, url: str, count: int) -> Turn:
    slots = asyncio.Semaphore(count)

    async def one() -> None:
        async with slots:
            await fetch(url)

    started, spent = time.perf_counter(), _cpu()
    await asyncio.gather(*(one() for _ in range(PAGES_A_TURN)))
    return Turn(PAGES_A_TURN / (time.perf_counter() - started), (_cpu() - spent) / PAGES_A_TURN)


async def _batch(subject: Subject, raw: RawShell, url: str) -> Row:
    """A batch from its POST until it is completed, against raw pages right before and right after it."""
    before = await _turn(raw.fetch, url, RAW_CONCURRENCY)
    started = time.perf_counter()
    body = {"urls": [f"{url}?{number}" for number in range(BATCH_URLS)], "formats": ["html"]}
    job = (await subject.client.post("/v1/quick/batch", json=body)).raise_for_status().json()
    while job["status"] in ("queued", "running"):
        answer = await subject.client.get(f"/v1/jobs/{job['id']}", params={"wait": 60}, timeout=90)
        job = answer.raise_for_status().json()
    ours = BATCH_URLS / (time.perf_counter() - started)
    if job["progress_done"] != BATCH_URLS or job["status"] != "completed":
        raise RuntimeError(f"the batch ended {job['status']} with {job['progress_done']} pages")
    after = await _turn(raw.fetch, url, RAW_CONCURRENCY)
    return _at_least(f"batch of {BATCH_URLS} small pages", [(ours, (before.rate + after.rate) / 2)], 0.85)


def _family(root: psutil.Process) -> list[psutil.Process]:
    return [root, *root.children(recursive=True)]


def _cpu() -> float:
    """CPU seconds used by the whole machine, because processes that have ended no longer report theirs."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def _pss(processes: list[psutil.Process]) -> float:
    return sum(float(p.memory_full_info().pss) for p in processes if p.is_running()) / 2**20


def _shell_memory(subject: Subject) -> float:
    runner = psutil.Process(subject.stack.pids["runner"])
    shells = [p for p in runner.children() if "--block-new-web-contents" in p.cmdline()]
    return sum(_pss(_family(shell)) for shell in shells)
