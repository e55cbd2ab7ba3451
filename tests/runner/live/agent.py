"""What an agent does in the browser that is watched."""

from __future__ import annotations

from typing import Any

from tests.runner.client import Cdp


class Agent(Cdp):
    """The agent's own client; `page` is its session with the first page."""

    page: str

    async def show(self, url: str) -> None:
        await self.open(url, session=self.page)

    async def look(self, expression: str) -> Any:
        """What an expression is worth in the first page."""
        return await self.run(expression, session=self.page)
