"""The live views of a runner: finds the hub of a browser, and creates it for the first viewer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from runner.browser import Browser
from runner.leases import LiveAccess
from runner.live.hub import Hub

FindAccess = Callable[[str], LiveAccess | None]


class LiveViews:
    """`find` returns what a capability permits. The gateway refuses pages of origins that are not in `origins`."""

    def __init__(self, find: FindAccess, *, origins: frozenset[str]) -> None:
        self.find = find
        self.origins = origins
        self._hubs: dict[Browser, Hub] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def admit(self, access: LiveAccess, transport: asyncio.Transport, early: bytes) -> None:
        """Serve a viewer after its WebSocket handshake; `early` is what it has already sent."""
        browser = access.browser
        if browser not in self._hubs:
            self._hubs[browser] = Hub(browser, access.ended, on_done=self._forget, spawn=self._spawn)
        self._hubs[browser].join(access.mode, transport, early)

    def _forget(self, done: Hub) -> None:
        for browser, hub in list(self._hubs.items()):
            if hub is done:  # the browser may have a new hub already
                del self._hubs[browser]

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="live-afterwards")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
