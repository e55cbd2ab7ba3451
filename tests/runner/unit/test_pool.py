"""The pool with browsers that are nothing but a future: who gets which, and what is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from runner.chromium import ChromiumError
from runner.pool import NoBrowser, Pool, PoolClosed
from runner.pool_decisions import STARTS_WHILE_WAITING, Shape, Wanted
from tests.patience import PATIENCE

MAC, WINDOWS = Wanted(Shape("macos", "us")), Wanted(Shape("windows", "de"))


class FakeBrowser:
    """Ends when it is killed, as a process does: not at once."""

    def __init__(self, number: int, order: Wanted) -> None:
        self.number = number
        self.shape = order.shape
        self.gone: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.chromium = SimpleNamespace(stderr_tail=["bye"])
        self.killed = False

    def kill(self, status: int = -9) -> None:
        self.killed = True
        asyncio.get_running_loop().call_soon(lambda: self.gone.done() or self.gone.set_result(status))

    async def closed(self) -> int:
        return await asyncio.shield(self.gone)


class Factory:
    """What a pool starts. A start takes until `release` lets it go, or no time when `instant`."""

    def __init__(self) -> None:
        self.made: list[FakeBrowser] = []
        self.running = 0
        self.most_at_once = 0
        self.failing = 0
        self.instant = True
        self._gate = asyncio.Semaphore(0)

    async def __call__(self, order: Wanted) -> Any:
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            if not self.instant:
                await self._gate.acquire()
            await asyncio.sleep(0)
            if self.failing:
                self.failing -= 1
                raise ChromiumError("it did not start")
            self.made.append(FakeBrowser(len(self.made), order))
            return self.made[-1]
        finally:
            self.running -= 1

    def release(self, count: int = 1) -> None:
        for _ in range(count):
            self._gate.release()

    def alive(self) -> list[FakeBrowser]:
        return [browser for browser in self.made if not browser.gone.done()]


async def settle(condition: Callable[[], object]) -> None:
    """Let the loop turn until `condition()`."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
async def factory() -> Factory:
    return Factory()


@pytest.fixture
async def make(factory: Factory) -> AsyncIterator[Callable[..., Pool]]:
    pools: list[Pool] = []

    def _make(target: int = 2, limit: int = 4) -> Pool:
        pools.append(Pool(factory, target=target, limit=limit, default=MAC.shape))
        pools[-1].open()
        return pools[-1]

    yield _make
    for pool in pools:
        pool.close()
        for browser in factory.made:
            browser.kill()
        factory.release(100)
        await pool.emptied()


async def test_it_warms_up_to_its_target_one_after_another(make: Callable[..., Pool], factory: Factory) -> None:
    pool = make(target=3)

    await settle(lambda: len(pool.state().warm) == 3)

    assert factory.most_at_once == 1
    assert len(factory.made) == 3


async def test_a_warm_browser_is_handed_out_at_once_and_replaced(make: Callable[..., Pool]) -> None:
    pool = make(target=1)
    await settle(lambda: len(pool.state().warm) == 1)

    browser: Any = await pool.take(MAC, wait=0)

    assert browser.number == 0
    assert pool.state().leased == 1
    await settle(lambda: len(pool.state().warm) == 1)


async def test_those_who_wait_are_served_in_order(make: Callable[..., Pool], factory: Factory) -> None:
    factory.instant = False
    pool = make(target=0, limit=5)
    served: list[int] = []

    async def caller(number: int) -> None:
        await pool.take(MAC, wait=PATIENCE)
        served.append(number)

    callers = []
    for number in range(5):
        callers.append(asyncio.create_task(caller(number)))
        await settle(lambda: len(pool.state().waiting) == len(callers))
    factory.release(5)
    await asyncio.gather(*callers)

    assert served == [0, 1, 2, 3, 4]
    assert factory.most_at_once == STARTS_WHILE_WAITING


async def test_at_the_limit_a_caller_gets_the_place_of_one_that_ended(
    make: Callable[..., Pool], factory: Factory
) -> None:
    pool = make(target=1, limit=1)
    first: Any = await pool.take(MAC, wait=PATIENCE)
    waiting = asyncio.create_task(pool.take(MAC, wait=PATIENCE))
    await settle(lambda: len(pool.state().waiting) == 1)
    assert len(factory.made) == 1

    first.kill()
    second: Any = await waiting

    assert second.number == 1
    assert pool.state().leased == 1


async def test_a_caller_that_waited_in_vain_gets_an_error_and_is_forgotten(make: Callable[..., Pool]) -> None:
    pool = make(target=1, limit=1)
    await pool.take(MAC, wait=PATIENCE)

    with pytest.raises(NoBrowser, match=r"no browser in 0\.02 s"):
        await pool.take(MAC, wait=0.02)

    assert len(pool.state().waiting) == 0


async def test_without_a_wait_the_error_comes_at_once(make: Callable[..., Pool], factory: Factory) -> None:
    factory.instant = False
    pool = make(target=1)

    with pytest.raises(NoBrowser):
        await pool.take(MAC, wait=0)


@pytest.mark.parametrize("turns", range(8))
async def test_a_browser_handed_to_a_caller_who_just_left_is_not_lost(
    make: Callable[..., Pool], factory: Factory, turns: int
) -> None:
    factory.instant = False
    pool = make(target=0, limit=1)
    caller = asyncio.create_task(pool.take(MAC, wait=PATIENCE))
    await settle(lambda: len(pool.state().starting) == 1)

    factory.release()
    for _ in range(turns):
        await asyncio.sleep(0)
    caller.cancel()
    outcome = (await asyncio.gather(caller, return_exceptions=True))[0]

    if isinstance(outcome, asyncio.CancelledError):
        # Either it went to the pool, or it was ended: its place is free for the next caller.
        factory.release()
        await pool.take(MAC, wait=PATIENCE)
    assert pool.state().leased == 1
    assert len(pool.state().waiting) == 0
    assert len(factory.alive()) == 1


async def test_a_timeout_and_a_hand_over_in_one_tick_leave_no_browser_without_an_owner(
    make: Callable[..., Pool], factory: Factory
) -> None:
    factory.instant = False
    pool = make(target=0, limit=8)
    owned = 0
    for _ in range(30):
        caller = asyncio.create_task(pool.take(MAC, wait=0.004))
        asyncio.get_running_loop().call_later(0.004, factory.release)
        outcome = (await asyncio.gather(caller, return_exceptions=True))[0]
        if not isinstance(outcome, Exception):
            owned += 1
            outcome.kill()  # type: ignore[union-attr]
        factory.release()
        await settle(lambda: len(pool.state().starting) == 0 and pool.state().leased == 0)
        for browser in factory.alive():  # what came too late waits warm, for the next one
            assert len(pool.state().warm) >= 1
            browser.kill()
        await settle(lambda: len(pool.state().warm) == 0)

    assert pool.state().leased == 0
    assert factory.alive() == []


async def test_a_dead_warm_browser_is_replaced(make: Callable[..., Pool], factory: Factory) -> None:
    pool = make(target=1)
    await settle(lambda: len(pool.state().warm) == 1)

    factory.made[0].kill()
    await settle(lambda: len(factory.made) == 2)
    browser: Any = await pool.take(MAC, wait=PATIENCE)

    assert browser.number == 1


async def test_a_browser_that_died_while_it_was_handed_to_the_pool_is_never_kept(
    make: Callable[..., Pool], factory: Factory
) -> None:
    pool = make(target=1)
    await settle(lambda: factory.made)
    factory.made[0].gone.set_result(-9)

    await settle(lambda: len(factory.made) == 2 and len(pool.state().warm) == 1)

    assert (await pool.take(MAC, wait=0)).number == 1  # type: ignore[attr-defined]


async def test_a_lease_that_ends_makes_room(make: Callable[..., Pool]) -> None:
    pool = make(target=1, limit=2)
    for _ in range(10):
        browser = await pool.take(MAC, wait=PATIENCE)
        browser.kill()
    await settle(lambda: pool.state().leased == 0)
    await settle(lambda: len(pool.state().warm) == 1)


async def test_after_a_failure_it_tries_again(make: Callable[..., Pool], factory: Factory) -> None:
    factory.failing = 1
    pool = make(target=1)

    browser: Any = await pool.take(MAC, wait=PATIENCE)

    assert browser.number == 0
    assert pool.state().failures == 0


async def test_a_closed_pool_gives_nothing_out_and_tells_those_who_wait(
    make: Callable[..., Pool], factory: Factory
) -> None:
    pool = make(target=0, limit=1)
    leased: Any = await pool.take(MAC, wait=PATIENCE)
    waiting = asyncio.create_task(pool.take(MAC, wait=PATIENCE))
    await settle(lambda: len(pool.state().waiting) == 1)

    pool.close()

    with pytest.raises(PoolClosed):
        await waiting
    with pytest.raises(PoolClosed):
        await pool.take(MAC, wait=PATIENCE)
    assert not leased.killed


async def test_closing_ends_the_warm_browsers_and_those_that_are_still_starting(
    make: Callable[..., Pool], factory: Factory
) -> None:
    factory.instant = False
    factory.release()
    pool = make(target=3)
    await settle(lambda: len(pool.state().warm) == 1 and len(pool.state().starting) == 1)

    pool.close()
    factory.release(5)
    await pool.emptied()

    assert factory.alive() == []
    assert pool.state().warm == pool.state().starting == ()


async def test_a_caller_with_another_shape_gets_a_browser_of_its_own_shape(
    make: Callable[..., Pool], factory: Factory
) -> None:
    pool = make(target=2)
    await settle(lambda: len(pool.state().warm) == 2)

    browser = await pool.take(WINDOWS, wait=PATIENCE)

    assert browser.shape == WINDOWS.shape
    assert pool.state().warm == (MAC.shape,) * 2


async def test_at_the_limit_a_warm_browser_gives_its_place_to_another_shape(
    make: Callable[..., Pool], factory: Factory
) -> None:
    pool = make(target=2, limit=2)
    await settle(lambda: len(pool.state().warm) == 2)

    browser = await pool.take(WINDOWS, wait=PATIENCE)

    assert browser.shape == WINDOWS.shape
    assert len(factory.alive()) <= 2
    assert factory.made[0].killed
    assert not factory.made[1].killed


async def test_a_seed_gets_a_browser_that_is_started_for_it(make: Callable[..., Pool], factory: Factory) -> None:
    pool = make(target=1)
    await settle(lambda: len(pool.state().warm) == 1)

    browser: Any = await pool.take(Wanted(MAC.shape, seed="7"), wait=PATIENCE)

    assert browser.number == 1
    assert pool.state().warm == (MAC.shape,)


async def test_a_browser_with_a_seed_whose_caller_has_left_is_ended(
    make: Callable[..., Pool], factory: Factory
) -> None:
    factory.instant = False
    pool = make(target=0)
    with pytest.raises(NoBrowser):
        await pool.take(Wanted(MAC.shape, seed="7"), wait=0.02)

    factory.release()
    await settle(lambda: factory.made and not factory.alive())

    assert pool.state().warm == ()


async def test_the_warm_browsers_follow_the_demand(make: Callable[..., Pool]) -> None:
    pool = make(target=2, limit=8)
    await settle(lambda: len(pool.state().warm) == 2)

    for _ in range(15):
        (await pool.take(WINDOWS, wait=PATIENCE)).kill()

    await settle(lambda: pool.state().warm.count(WINDOWS.shape) == 2)
