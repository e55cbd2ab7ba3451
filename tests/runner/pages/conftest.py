"""A runner that only loads pages: it has a headless shell and no warm browsers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.fakes.site import Site
from tests.runner.harness import PAGE_PLACES, RunnerProcess


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def runner(site: Site) -> AsyncIterator[RunnerProcess]:
    process = RunnerProcess(
        BROWSA_POOL_SIZE="0",
        BROWSA_PAGE_PLACES=str(PAGE_PLACES),
        BROWSA_ALLOW_ADDRESSES=f"127.0.0.1:{site.port}",
    )
    try:
        yield await process.start().ready(warm=0)
    finally:
        process.clean()
