"""The warm pool: how many browsers to start and when, and who gets the next one.

`starts_now` and `pause_before_refill` decide; `Pool` carries out. Browsers are started one after another while the
machine is quiet and two at once while somebody waits, because a starting Chromium takes a core from the running ones.
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
    """No browser became free in the time that the caller was willing to wait."""


class PoolClosed(Exception):
    """The pool gives out no more browsers."""


@dataclass(frozen=True, slots=True)
class PoolState:
    """Counts of browsers; `since_lease` is the seconds since one was last handed out."""

    target: int
    limit: int
    warm: int
    starting: int
    leased: int
    waiting: int
    failures: int = 0
    since_lease: float = float("inf")


def starts_now(state: PoolState) -> int:
    """How many browsers to start at this moment."""
    room = state.limit - state.warm - state.starting - state.leased
    if state.waiting > 0:
        parallel = 1 if state.failures else STARTS_WHILE_WAITING
        return max(0, min(state.waiting, parallel - state.starting, room))
    if state.starting > 0 or state.warm >= state.target:
        return 0
    return max(0, min(1, room))


def pause_before_refill(state: PoolState) -> float:
    """Seconds to let pass before the next start: after a failure, or while a fresh lease loads its first page."""
    if state.failures:
        return min(MAX_BACKOFF_SECONDS, 0.25 * 2.0 ** min(state.failures, 10))  # a float ends at 2.0**1023
    if state.waiting:
        return 0.0
    return max(0.0, QUIET_SECONDS - state.since_lease)


class Pool:
    """Keeps `target` browsers warm and never runs more than `limit`. `start` makes one browser."""

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
        """Begin to keep browsers warm."""
        self._keep_warm_task = asyncio.create_task(self._keep_warm(), name="pool-keeper")

    async def take(self, *, wait: float) -> Browser:
        """A browser of one's own. Callers are served in order. Raises NoBrowser after `wait` seconds, or Closed."""
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
                # Handed over in the very moment in which we stopped waiting: nobody has it.
                waiter.result().kill()
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            if isinstance(error, TimeoutError):
                raise NoBrowser(f"no browser in {wait:g} s") from error
            raise

    def close(self) -> None:
        """Hand out nothing any more and end the warm browsers; leased ones stay until their lease ends."""
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
        """Wait until every browser of this pool, leased ones too, is gone."""
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
                # Somebody who begins to wait ends the pause.
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
        self._deliver(browser)

    def _deliver(self, browser: Browser) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(self._hand_out(browser))
                return
        self._warm.append(browser)

    async def _remove_when_closed(self, browser: Browser) -> None:
        """Wait for a browser's end, however it comes, and make room for the next."""
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
