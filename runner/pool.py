"""The pool of warm browsers: it starts browsers, keeps them, and hands them out. `pool_decisions` decides."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine

from runner.browser import Browser
from runner.chromium import ChromiumError
from runner.pool_decisions import (
    RECENT_LEASES,
    PoolState,
    Shape,
    Wanted,
    next_step,
    pause_before_refill,
    warm_shapes,
)

log = logging.getLogger("browsa.runner.pool")


class NoBrowser(Exception):
    """No browser became free within the caller's waiting time."""


class PoolClosed(Exception):
    """The pool is closed and hands out no browsers."""


class Pool:
    """Keeps `target` browsers warm and never runs more than `limit`. `start` starts one browser.

    The warm browsers have the shapes of the recent leases, at first `default`.
    """

    def __init__(
        self, start: Callable[[Wanted], Awaitable[Browser]], *, target: int, limit: int, default: Shape
    ) -> None:
        self._start = start
        self._target = target
        self._limit = limit
        self._recent = deque([default] * RECENT_LEASES, maxlen=RECENT_LEASES)
        self._warm: list[Browser] = []  # the oldest first
        self._ending: set[Browser] = set()
        self._leased: set[Browser] = set()
        self._waiters: list[tuple[Wanted, asyncio.Future[Browser]]] = []
        self._starting: list[Wanted] = []
        self._failures = 0
        self._last_lease = float("-inf")
        self._changed = asyncio.Event()
        self._keep_warm_task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def state(self) -> PoolState:
        return PoolState(
            keep=warm_shapes(self._recent, 0 if self._closed else self._target),
            limit=self._limit,
            warm=tuple(browser.shape for browser in self._warm),
            starting=tuple(self._starting),
            waiting=tuple(order for order, _waiter in self._waiters),
            leased=len(self._leased),
            ending=len(self._ending),
            failures=self._failures,
            since_lease=asyncio.get_running_loop().time() - self._last_lease,
        )

    def open(self) -> None:
        """Start to keep browsers warm."""
        self._keep_warm_task = asyncio.create_task(self._keep_warm(), name="pool-keeper")

    async def take(self, order: Wanted, *, wait: float) -> Browser:
        """A browser for one lease. Callers with equal orders are served in turn.

        Raises NoBrowser after `wait` seconds, PoolClosed.
        """
        if self._closed:
            raise PoolClosed
        if order.is_plain:
            self._recent.append(order.shape)
            if (warm := self._take_warm(order.shape)) is not None:
                return self._hand_out(warm)
        waiter: asyncio.Future[Browser] = asyncio.get_running_loop().create_future()
        self._waiters.append((order, waiter))
        self._changed.set()
        try:
            async with asyncio.timeout(wait):
                return await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                # It was handed out at the same time as the wait ended, so it has no user.
                waiter.result().kill()
            elif (order, waiter) in self._waiters:
                self._waiters.remove((order, waiter))
            if isinstance(error, TimeoutError):
                raise NoBrowser(f"no browser in {wait:g} s") from error
            raise

    def _take_warm(self, shape: Shape) -> Browser | None:
        """Remove the oldest warm browser of a shape from the pool and return it."""
        browser = next((browser for browser in self._warm if browser.shape == shape), None)
        if browser is not None:
            self._warm.remove(browser)
        return browser

    def close(self) -> None:
        """Hand out no more browsers and end the warm ones. Leased ones run until their lease ends."""
        self._closed = True
        if self._keep_warm_task is not None:
            self._keep_warm_task.cancel()
        for _order, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(PoolClosed())
        self._waiters.clear()
        for browser in [*self._warm]:
            browser.kill()

    async def emptied(self) -> None:
        """Wait until all browsers of the pool, leased ones too, have exited."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _hand_out(self, browser: Browser) -> Browser:
        self._leased.add(browser)
        self._last_lease = asyncio.get_running_loop().time()
        self._changed.set()
        return browser

    async def _keep_warm(self) -> None:
        while True:
            self._changed.clear()
            if pause := pause_before_refill(self.state()):
                # A new waiter ends the pause.
                try:
                    async with asyncio.timeout(pause):
                        await self._changed.wait()
                    continue
                except TimeoutError:
                    pass
            step = next_step(self.state())
            for order in step.start:
                self._starting.append(order)
                self._spawn(self._start_one(order), "pool-start")
            for shape in step.end:
                if (unneeded := self._take_warm(shape)) is not None:
                    self._ending.add(unneeded)
                    unneeded.kill()
            await self._changed.wait()

    async def _start_one(self, order: Wanted) -> None:
        try:
            browser = await self._start(order)
        except ChromiumError as error:
            self._failures += 1
            log.error("no new browser (failure %d in a row): %s", self._failures, error)
            return
        else:
            self._failures = 0
        finally:
            self._starting.remove(order)
            self._changed.set()
        if self._closed:
            browser.kill()
        self._spawn(self._remove_when_closed(browser), "pool-wait-closed")
        for asked, waiter in self._waiters:
            if asked == order and not waiter.done():
                self._waiters.remove((asked, waiter))
                waiter.set_result(self._hand_out(browser))
                return
        if order.is_plain:
            self._warm.append(browser)
        else:  # its caller has left
            self._ending.add(browser)
            browser.kill()

    async def _remove_when_closed(self, browser: Browser) -> None:
        """Wait until a browser has exited, for any reason, and remove it from the pool."""
        status = await browser.closed()
        if browser in self._warm:
            self._warm.remove(browser)
            if not self._closed:
                log.warning(
                    "a warm browser died (status %d): %s",
                    status,
                    " | ".join(browser.chromium.stderr_tail)[-300:],
                )
        self._leased.discard(browser)
        self._ending.discard(browser)
        self._changed.set()

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
