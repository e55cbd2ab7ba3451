"""Leases over browsers that are nothing but a future: idempotency, deadlines, reasons."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from addresses.egress import parse_countries
from runner.cdp import CdpError
from runner.egress.upstreams import Route, Upstreams
from runner.leases import Leases
from runner.pool import NoBrowser
from runner.pool_decisions import Shape, Wanted
from runner.wire import LeaseEnded, LeaseRequest
from tests.patience import PATIENCE


class FakeBrowser:
    page_id = "PAGE"

    def __init__(self, number: int, *, answers: bool = True) -> None:
        self.number = number
        self.answers = answers
        self.gone: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.chromium = SimpleNamespace(stderr_tail=["bye"])
        self.fingerprint = SimpleNamespace(seed="seed")
        self.measured = {"timezone": "UTC"}
        self.routes: list[Route] = []
        self.serves_harness = False
        self.opened: list[str] = []
        self.may_lease = asyncio.Event()
        self.may_lease.set()

    async def lease(self, *, route: Route) -> None:
        await self.may_lease.wait()
        if not self.answers:
            raise CdpError("no answer")
        self.routes.append(route)

    def serve_harness(self) -> None:
        self.serves_harness = True

    async def navigate(self, url: str) -> None:
        self.opened.append(url)
        await asyncio.sleep(3600)

    def kill(self) -> None:
        self.exit(-9)

    def exit(self, status: int) -> None:
        if not self.gone.done():
            self.gone.set_result(status)


class FakePool:
    def __init__(self) -> None:
        self.given: list[FakeBrowser] = []
        self.orders: list[Wanted] = []
        self.mute = 0  # how many of the next ones do not answer
        self.slow = False  # whether those take long to take on an identity
        self.free = asyncio.Event()
        self.free.set()

    async def take(self, order: Wanted, *, wait: float) -> Any:
        try:
            async with asyncio.timeout(wait):
                await self.free.wait()
        except TimeoutError as error:
            raise NoBrowser("no browser") from error
        browser = FakeBrowser(len(self.given), answers=self.mute <= 0)
        if self.slow:
            browser.may_lease.clear()
        self.mute -= 1
        self.orders.append(order)
        self.given.append(browser)
        return browser


@pytest.fixture
async def pool() -> FakePool:
    return FakePool()


@pytest.fixture
async def ended() -> list[LeaseEnded]:
    return []


@pytest.fixture
async def upstreams() -> Upstreams:
    return Upstreams(parse_countries('{"us": "direct", "de": "socks5://proxy.example:1"}'))


@pytest.fixture
async def leases(pool: FakePool, ended: list[LeaseEnded], upstreams: Upstreams) -> AsyncIterator[Leases]:
    made = Leases(
        pool,  # type: ignore[arg-type]
        runner_id="r1",
        boot_id="boot",
        upstreams=upstreams,
        on_end=ended.append,
    )
    yield made
    for lease_id in made.ids():
        made.release(lease_id)
    for task in list(made._tasks):
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def request(lease_id: str = "agt_1", **fields: Any) -> LeaseRequest:
    return LeaseRequest(**({"lease_id": lease_id, "os_family": "macos", "country": "us", "ttl_seconds": 60} | fields))


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_lease_is_a_browser_of_the_shape_and_with_the_egress_that_were_asked_for(
    leases: Leases, pool: FakePool, upstreams: Upstreams
) -> None:
    granted = await leases.grant(request("agt_7", os_family="windows", country="de"))

    assert pool.orders == [Wanted(Shape("windows", "de"))]
    assert pool.given[0].routes == [upstreams.route("de", token="agt_7")]
    assert (granted.seed, granted.fingerprint) == ("seed", {"timezone": "UTC"})
    assert leases.find(granted.profile) is pool.given[0]
    assert granted.page_id == "PAGE"
    assert granted.expires_at - granted.leased_at == 60


async def test_only_a_lease_of_the_harness_opens_the_reference_pages(leases: Leases, pool: FakePool) -> None:
    await leases.grant(request("agt_1"))
    await leases.grant(request("harness_1", harness=True))

    assert [browser.serves_harness for browser in pool.given] == [False, True]


async def test_a_capability_names_its_runner_and_cannot_be_guessed(leases: Leases) -> None:
    granted = [await leases.grant(request(f"agt_{n}")) for n in range(20)]

    runner_id, _, secret = granted[0].profile.partition("-")
    assert runner_id == "r1"
    assert len(secret) * 4 >= 128
    assert len({g.profile for g in granted}) == 20


async def test_the_same_lease_id_gets_the_same_browser(leases: Leases, pool: FakePool) -> None:
    assert await leases.grant(request()) == await leases.grant(request())
    assert len(pool.given) == 1


async def test_the_same_lease_id_at_the_same_time_gets_one_browser(leases: Leases, pool: FakePool) -> None:
    granted = await asyncio.gather(*(leases.grant(request()) for _ in range(5)))

    assert all(one == granted[0] for one in granted)
    assert len(pool.given) == 1


async def test_a_repeat_that_is_given_up_does_not_end_the_first_request(leases: Leases, pool: FakePool) -> None:
    pool.free.clear()
    first, repeat = (asyncio.create_task(leases.grant(request())) for _ in range(2))
    await turn()

    repeat.cancel()
    await turn()
    pool.free.set()

    assert (await first).lease_id == "agt_1"


async def test_all_who_asked_for_a_lease_hear_that_there_is_no_browser(leases: Leases, pool: FakePool) -> None:
    pool.free.clear()

    answers = await asyncio.gather(
        *(leases.grant(request(wait_seconds=0.01)) for _ in range(3)), return_exceptions=True
    )

    assert [type(answer) for answer in answers] == [NoBrowser] * 3
    pool.free.set()
    await leases.grant(request())


async def test_a_caller_who_goes_away_leaves_no_lease_and_no_browser(leases: Leases, pool: FakePool) -> None:
    pool.slow = True
    asking = asyncio.create_task(leases.grant(request()))
    await turn()

    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)

    assert leases.ids() == []
    assert [browser.gone.done() for browser in pool.given] == [True]


async def test_a_warm_browser_that_does_not_answer_is_ended_and_the_next_one_taken(
    leases: Leases, pool: FakePool, ended: list[LeaseEnded]
) -> None:
    pool.mute = 2

    granted = await leases.grant(request())

    assert leases.find(granted.profile) is pool.given[2]
    assert [browser.gone.done() for browser in pool.given] == [True, True, False]
    assert ended == []


async def test_the_first_page_is_opened_without_waiting(leases: Leases, pool: FakePool) -> None:
    async with asyncio.timeout(PATIENCE):
        await leases.grant(request(initial_url="https://example.org/"))
    await turn()

    assert pool.given[0].opened == ["https://example.org/"]


async def test_a_lease_ends_at_its_deadline(leases: Leases, pool: FakePool, ended: list[LeaseEnded]) -> None:
    granted = await leases.grant(request(ttl_seconds=0.02))

    async with asyncio.timeout(PATIENCE):
        await pool.given[0].gone
    await turn()

    assert [(end.lease_id, end.reason) for end in ended] == [("agt_1", "expired")]
    assert leases.find(granted.profile) is None


@pytest.mark.parametrize(("status", "reason"), [(0, "closed"), (-9, "crashed"), (137, "crashed"), (1, "crashed")])
async def test_a_browser_that_ends_by_itself_is_reported_once(
    leases: Leases, pool: FakePool, ended: list[LeaseEnded], status: int, reason: str
) -> None:
    granted = await leases.grant(request())

    pool.given[0].exit(status)
    await turn()
    leases.release("agt_1")
    leases.end("agt_1", "shutdown")
    await turn()

    assert [end.reason for end in ended] == [reason]
    assert leases.find(granted.profile) is None


async def test_a_deadline_can_be_moved_to_a_later_time_and_never_to_an_earlier_one(
    leases: Leases, pool: FakePool, ended: list[LeaseEnded]
) -> None:
    granted = await leases.grant(request(ttl_seconds=0.02))
    later = leases.extend("agt_1", seconds=3600)
    assert later is not None and later.expires_at > granted.expires_at + 3000
    assert later.profile == granted.profile
    assert leases.extend("agt_1", seconds=1) == later
    await asyncio.wait({pool.given[0].gone}, timeout=0.1)
    assert not ended
    assert leases.extend("agt_2", seconds=60) is None


async def test_watching_and_steering_are_capabilities_of_their_own(leases: Leases) -> None:
    granted = await leases.grant(request())

    view, control = leases.find_live(granted.live_view), leases.find_live(granted.live_control)

    assert view is not None and control is not None
    assert (view.mode, control.mode) == ("view", "control")
    assert view.browser is control.browser is leases.find(granted.profile)
    assert len({granted.profile, granted.live_view, granted.live_control}) == 3
    assert leases.find_live(granted.profile) is leases.find(granted.live_view) is leases.find(granted.live_control)
    assert leases.find(granted.live_control) is None


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (lambda leases, pool: leases.release("agt_1"), "deleted"),
        (lambda leases, pool: leases.end("agt_1", "expired"), "expired"),
        (lambda leases, pool: pool.given[0].exit(0), "closed"),
        (lambda leases, pool: pool.given[0].exit(-9), "crashed"),
    ],
)
async def test_they_die_with_the_lease_and_say_why(leases: Leases, pool: FakePool, end: Any, why: str) -> None:
    granted = await leases.grant(request())
    watched = leases.find_live(granted.live_view)
    assert watched is not None and not watched.ended.done()

    end(leases, pool)
    await turn()

    assert await watched.ended == why
    assert leases.find_live(granted.live_view) is leases.find_live(granted.live_control) is None


async def test_what_the_api_ended_is_not_reported(leases: Leases, pool: FakePool, ended: list[LeaseEnded]) -> None:
    granted = await leases.grant(request())

    leases.release("agt_1")
    leases.release("agt_1")
    await turn()

    assert ended == []
    assert pool.given[0].gone.done()
    assert leases.find(granted.profile) is None
    assert len(leases) == 0


async def test_the_first_reason_to_end_is_the_one_that_counts(leases: Leases, ended: list[LeaseEnded]) -> None:
    await leases.grant(request())

    leases.end("agt_1", "expired")
    leases.end("agt_1", "shutdown")
    await turn()

    assert [end.reason for end in ended] == ["expired"]


async def test_an_ended_id_can_be_leased_again_and_its_old_browser_does_not_disturb_it(
    leases: Leases, ended: list[LeaseEnded]
) -> None:
    first = await leases.grant(request())
    leases.end("agt_1", "expired")
    second = await leases.grant(request())
    await turn()

    assert first.profile != second.profile
    assert leases.find(second.profile) is not None
    assert leases.ids() == ["agt_1"]


async def test_a_browser_that_died_on_the_way_to_its_lease_is_reported(
    leases: Leases, pool: FakePool, ended: list[LeaseEnded]
) -> None:
    pool.slow = True
    asking = asyncio.create_task(leases.grant(request()))
    await turn()
    pool.given[0].exit(-9)
    pool.given[0].may_lease.set()
    granted = await asking
    await turn()

    # The caller has got the lease, so its end must be reported.
    assert leases.find(granted.profile) is None
    assert [end.reason for end in ended] == ["crashed"]
