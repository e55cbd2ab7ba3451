"""What an agent does in the browser that is watched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.runner.client import Cdp
from tests.runner.harness import Lease


class Agent(Cdp):
    """The agent's own client; `page` is its session with the first page."""

    page: str

    async def show(self, url: str) -> None:
        await self.open(url, session=self.page)

    async def look(self, expression: str) -> Any:
        """What an expression is worth in the first page."""
        return await self.run(expression, session=self.page)


@asynccontextmanager
async def agent_of(lease: Lease) -> AsyncIterator[Agent]:
    async with Agent(lease.cdp_url) as agent:
        await agent.call("Target.getTargets")  # this makes it a client of the browser, not of the page
        agent.page = await agent.attach(lease.granted.page_id)
        yield agent
