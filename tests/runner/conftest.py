"""One runner for all tests that need a browser. A test that breaks a browser leases one for itself.

Tests in `pages` share another runner.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Playwright, async_playwright

from tests.fakes.report_api import ReportApi
from tests.fakes.site import Site
from tests.patience import PATIENCE
from tests.runner.harness import POOL_SIZE, Lease, RunnerProcess


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture(scope="session")
def reports() -> Iterator[ReportApi]:
    with ReportApi() as api:
        yield api


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def runner(site: Site, reports: ReportApi) -> AsyncIterator[RunnerProcess]:
    """The runner that all tests share. It may reach `site` on loopback and nothing else there."""
    process = RunnerProcess(
        BROWSA_POOL_SIZE=str(POOL_SIZE),
        BROWSA_MAX_BROWSERS="12",
        BROWSA_ALLOW_ADDRESSES=f"127.0.0.1:{site.port}",
        BROWSA_REPORT_URL=reports.url,
        BROWSA_CDP_ORIGINS="http://trusted.example",
    )
    try:
        yield await process.start().ready()
    finally:
        process.clean()


@pytest_asyncio.fixture(loop_scope="session")
async def lease(runner: RunnerProcess) -> AsyncIterator[Lease]:
    """A browser of the test's own."""
    async with runner.lease() as lease:
        yield lease


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(runner: RunnerProcess) -> AsyncIterator[Lease]:
    """A browser for all tests of a module that each open a page of their own in it and change nothing else."""
    async with runner.lease() as lease:
        yield lease


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def playwright() -> AsyncIterator[Playwright]:
    async with async_playwright() as playwright:
        yield playwright


async def attached(playwright: Playwright, address: str) -> Browser:
    """Playwright, with our patience, at a browser that runs already."""
    browser = await playwright.chromium.connect_over_cdp(address, timeout=PATIENCE * 1000)
    browser.contexts[0].set_default_timeout(PATIENCE * 1000)
    return browser


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def private(site: Site) -> AsyncIterator[RunnerProcess]:
    """A runner that one module has for itself, so that every browser of it is accounted for."""
    process = RunnerProcess(
        BROWSA_POOL_SIZE="2", BROWSA_MAX_BROWSERS="4", BROWSA_ALLOW_ADDRESSES=f"127.0.0.1:{site.port}"
    )
    try:
        yield await process.start().ready(warm=2)
    finally:
        process.clean()
