"""The pool of warm browsers: how many to start and when, and which caller gets the next one.

`starts_now` and `pause_before_refill` decide; `Pool` starts and hands out browsers. It starts one browser at a time, or
two while a caller waits, because a starting Chromium takes a core from the running ones.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass

from runner.browser import Browser
from runner.chromium import ChromiumError

log = logging.getLogger("browsa.runner.pool")

STARTS_WHILE_WAITING = 2
QUIET_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 10.0


class NoBrowser(Exception):
    """No browser became free within the caller's waiting time."""


class PoolClosed(Exception):
    """The pool is closed and hands out no browsers."""


@dataclass(frozen=True, slots=True)
class PoolState:
    """Numbers of browsers. `since_lease`: seconds since the last one was handed out."""

    target: int
    limit: int
    warm: int
    starting: int
    leased: int
    waiting: int
    failures: int = 0
    since_lease: float = float("inf")


def starts_now(state: PoolState) -> int:
    """How many browsers to start now."""
    room = state.limit - state.warm - state.starting - state.leased
    if state.waiting > 0:
        parallel = 1 if state.failures else STARTS_WHILE_WAITING
        return max(0, min(state.waiting, parallel - state.starting, room))
    if state.starting > 0 or state.warm >= state.target:
        return 0
    return max(0, min(1, room))


def pause_before_refill(state: PoolState) -> float:
    """Seconds to wait before the next start: after a failure, or while a new lease loads its first page."""
    if state.failures:
        return min(MAX_BACKOFF_SECONDS, 0.25 * 2.0 ** min(state.failures, 10))  # 2.0**1024 would overflow
    if state.waiting:
        return 0.0
    return max(0.0, QUIET_SECONDS - state.since_lease)


class Pool:
    """Keeps `target` browsers warm and never runs more than `limit`. `start` starts one browser."""

    def __init__(self, start: Callable[[], Awaitable[Browser]], *, target: int, limit: int) -> None:
        self._start = start
        self._target = target
        self._limit = limit
        self._warm: deque[Browser] = deque()
        self._leased: set[Browser] = set()
        self._waiters: deque[asyncio.Future[Browser]] = deque()
        self._starting = 0
        self._failures = 0
        self._last_lease = float("-inf")
        self._changed = asyncio.Event()
        self._keep_warm_task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def state(self) -> PoolState:
        return PoolState(
            target=0 if self._closed else self._target,
            limit=self._limit,
            warm=len(self._warm),
            starting=self._starting,
            leased=len(self._leased),
            waiting=len(self._waiters),
            failures=self._failures,
            since_lease=asyncio.get_running_loop().time() - self._last_lease,
        )

    def open(self) -> None:
        """Start to keep browsers warm."""
        self._keep_warm_task = asyncio.create_task(self._keep_warm(), name="pool-keeper")

    async def take(self, *, wait: float) -> Browser:
        """A browser for one lease. Callers are served in order. Raises NoBrowser after `wait` seconds, PoolClosed."""
        if self._closed:
            raise PoolClosed
        if self._warm and not self._waiters:
            return self._hand_out(self._warm.popleft())
        waiter: asyncio.Future[Browser] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._changed.set()
        try:
            async with asyncio.timeout(wait):
                return await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                # It was handed out at the same time as the wait ended, so it has no user.
                waiter.result().kill()
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            if isinstance(error, TimeoutError):
                raise NoBrowser(f"no browser in {wait:g} s") from error
            raise

    def close(self) -> None:
        """Hand out no more browsers and end the warm ones. Leased ones run until their lease ends."""
        self._closed = True
        if self._keep_warm_task is not None:
            self._keep_warm_task.cancel()
        for waiter in self._waiters:
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
            for _ in range(starts_now(self.state())):
                self._starting += 1
                self._spawn(self._start_one(), "pool-start")
            await self._changed.wait()

    async def _start_one(self) -> None:
        try:
            browser = await self._start()
        except ChromiumError as error:
            self._failures += 1
            log.error("no new browser (failure %d in a row): %s", self._failures, error)
            return
        else:
            self._failures = 0
        finally:
            self._starting -= 1
            self._changed.set()
        if self._closed:
            browser.kill()
        self._spawn(self._remove_when_closed(browser), "pool-wait-closed")
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(self._hand_out(browser))
                return
        self._warm.append(browser)

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
        self._changed.set()

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
