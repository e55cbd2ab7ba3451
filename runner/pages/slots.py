"""Places for a bounded number of pages at once, given to the waiting queues in turn.

A queue is a workspace. One with five hundred pages waiting gets every second place when another has one page.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class NoPlace(Exception):
    """No place became free in the time that the caller was willing to wait."""


class Turns:
    """`places` at once; first come, first served within a queue, round robin between queues."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def waiting(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    @asynccontextmanager
    async def place(self, queue: str, *, wait: float) -> AsyncIterator[None]:
        """A place for the length of the block. Raises NoPlace after `wait` seconds."""
        await self._take(queue, wait)
        try:
            yield
        finally:
            self._give_back()

    async def _take(self, queue: str, wait: float) -> None:
        if self._free and not self._queues:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(queue, deque()).append(turn)
        try:
            async with asyncio.timeout(wait):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._give_back()  # it came in the moment in which we stopped waiting
            else:
                self._leave(queue, turn)
            if isinstance(error, TimeoutError):
                raise NoPlace(f"no place for the page in {wait:g} s") from error
            raise

    def _leave(self, queue: str, turn: asyncio.Future[None]) -> None:
        waiting = self._queues.get(queue)
        if waiting is not None and turn in waiting:
            waiting.remove(turn)
            if not waiting:
                del self._queues[queue]

    def _give_back(self) -> None:
        while self._queues:
            name, waiting = self._queues.popitem(last=False)
            turn = waiting.popleft()
            if waiting:
                self._queues[name] = waiting  # to the end of the round
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
