"""Time from `POST /v1/agents` to a usable browser, compared with starting Chromium directly."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from playwright.async_api import Browser, Playwright, async_playwright

from bench.subject import POOL_SIZE, Subject
from bench.table import Row, median, quantile
from fingerprints import draw
from runner.browsers import find_chromium
from runner.identity.launch import launch_of
from runner.launcher import Launcher

BURST = 20


async def measure(subject: Subject, *, samples: int, environ: dict[str, str]) -> list[Row]:
    """`samples` provisions with a warm pool, one at a time; a quarter as many until a Playwright page is ready."""
    created: list[float] = []
    ready: list[float] = []
    await subject.destroy(await subject.provision())  # the API opens its connections to the database and the runner
    for _ in range(samples):
        await subject.warm()
        started = time.perf_counter()
        agent = await subject.provision()
        created.append((time.perf_counter() - started) * 1000)
        await subject.destroy(agent)
    async with async_playwright() as playwright:
        for _ in range(samples // 4):
            await subject.warm()
            started = time.perf_counter()
            agent = await subject.provision()
            browser = await _attach(playwright, agent.cdp_url)
            ready.append((time.perf_counter() - started) * 1000)
            await browser.close()
            await subject.destroy(agent)
        await subject.warm()
        cold = [await _cold(subject, os_type) for os_type in ("OS_TYPE_WINDOWS", "OS_TYPE_LINUX") * 2]
        await subject.warm()
        burst = await _burst(subject)
        await subject.warm()
        own = await _start_directly(playwright, samples=max(3, samples // 10), environ=environ)
    return [
        Row("POST /v1/agents to 201, pool warm, p50", median(created), "ms", target=12),
        Row("POST /v1/agents to 201, pool warm, p99", quantile(created, 0.99), "ms", target=40),
        Row(
            "… to a Playwright page ready, p50",
            median(ready),
            "ms",
            median(own),
            "Chromium started directly",
            target=250,
        ),
        Row("POST /v1/agents to 201, a shape that is not warm, p50", median(cold), "ms", target=600),
        Row(f"burst of {BURST} agents on a pool of {POOL_SIZE}: to the last 201", burst, "s"),
        Row(
            f"… browsers started per second, for the {BURST - POOL_SIZE} that were not warm",
            (BURST - POOL_SIZE) / burst,
            "/s",
            target=4,
            at_least=True,
        ),
    ]


async def _cold(subject: Subject, os_type: str) -> float:
    """Milliseconds to a browser that is started for its caller. After some calls the pool keeps the shape warm."""
    await subject.warm()
    started = time.perf_counter()
    agent = await subject.provision(os_type=os_type)
    took = (time.perf_counter() - started) * 1000
    await subject.destroy(agent)
    return took


async def _burst(subject: Subject) -> float:
    """Seconds until `BURST` agents that are requested at once have their browsers."""
    started = time.perf_counter()
    agents = await asyncio.gather(*(subject.provision() for _ in range(BURST)))
    took = time.perf_counter() - started
    for agent in agents:
        await subject.destroy(agent)
    return took


async def _attach(playwright: Playwright, url: str) -> Browser:
    """Connect and evaluate a script in the first page."""
    browser = await playwright.chromium.connect_over_cdp(url)
    await browser.contexts[0].pages[0].evaluate("1")
    return browser


async def _start_directly(playwright: Playwright, *, samples: int, environ: dict[str, str]) -> list[float]:
    """Milliseconds to start the same Chromium with the same flags, without jail or gateway."""
    binary = find_chromium(environ)
    if binary is None:
        raise LookupError("no Chromium")
    times = []
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o711)  # without a jail Chromium runs as another user, which must reach its profile
        launcher = Launcher(binary, jailed=False, home=Path(home))
        launcher.prepare()
        settings = launch_of(draw(seed="bench", os_family="macos", country="us", chromium_version=launcher.version))
        for _ in range(samples):
            started = time.perf_counter()
            chromium = await launcher.launch(settings)
            browser = await _attach(playwright, f"http://127.0.0.1:{chromium.port}")
            times.append((time.perf_counter() - started) * 1000)
            await browser.close()
            chromium.kill()
            await chromium.gone
        launcher.close()
    return times
