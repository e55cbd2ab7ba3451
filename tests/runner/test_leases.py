"""A lease from its grant to its end, on a runner that goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import statistics
import time

import pytest

from tests.fakes.report_api import ReportApi
from tests.patience import PATIENCE
from tests.runner.client import Cdp
from tests.runner.harness import (
    TOKEN,
    Lease,
    Refused,
    RunnerProcess,
    browser_of,
    browsers_of,
    command_line,
    descendants,
    first_of_their_kind,
    in_time,
    status_of,
    until,
)

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


async def test_a_warm_lease_takes_milliseconds(runner: RunnerProcess) -> None:
    times = []
    for _ in range(3):
        await runner.ready()
        began = time.perf_counter()
        async with runner.lease():
            times.append(time.perf_counter() - began)

    assert statistics.median(times) < 0.25  # tens of milliseconds where the machine has nothing else to do


async def test_the_same_lease_twice_is_one_browser(runner: RunnerProcess) -> None:
    name = f"agt_{secrets.token_hex(10)}"
    one, two, three = await asyncio.gather(*(runner.grant(lease_id=name) for _ in range(3)))
    four = await runner.grant(lease_id=name, os_family="windows")

    assert one.granted == two.granted == three.granted == four.granted
    assert (await runner.leases()).count(name) == 1
    await one.release()
    await one.release()
    assert name not in await runner.leases()


async def test_a_lease_ends_at_its_deadline_and_the_api_hears_of_it(runner: RunnerProcess, reports: ReportApi) -> None:
    async with contextlib.AsyncExitStack() as stack:

        async def reach(lease: Lease) -> tuple[int, Cdp]:
            return await browser_of(lease), await stack.enter_async_context(Cdp(lease.cdp_url))

        lease, (pid, cdp) = await runner.brief_lease(reach)
        await until(lambda: reports.ends(lease.id), what="the report")

        assert reports.ends(lease.id) == ["expired"]
        await until(lambda: not command_line(pid), what="Chromium's end")
        await asyncio.wait_for(cdp.socket.wait_closed(), PATIENCE)
    assert reports.tokens == {f"Bearer {TOKEN}"}


async def test_what_the_api_released_it_is_not_told_of(runner: RunnerProcess, reports: ReportApi) -> None:
    async with runner.lease() as lease:
        pid = await browser_of(lease)
    await until(lambda: not command_line(pid), what="Chromium's end")

    async with runner.lease(ttl_seconds=1) as later:
        await until(lambda: reports.ends(later.id), what="a later report")
    assert reports.ends(lease.id) == []


@pytest.mark.parametrize("victim", ["chromium", "bwrap"])
async def test_a_crash_is_reported_within_two_seconds(runner: RunnerProcess, reports: ReportApi, victim: str) -> None:
    async def crash() -> float:
        async with runner.lease() as lease:
            chromium = await browser_of(lease)
            family = [chromium, *descendants(chromium)]
            target = chromium if victim == "chromium" else int(status_of(int(status_of(chromium)["PPid"]))["PPid"])
            assert victim == "chromium" or "bwrap" in command_line(target)[0]

            began = time.monotonic()
            os.kill(target, signal.SIGKILL)
            await until(lambda: reports.ends(lease.id), what="the report")
            took = time.monotonic() - began

            assert reports.ends(lease.id) == ["crashed"]
            assert lease.id not in await runner.leases()
            await until(lambda: not any(command_line(pid) for pid in family), what="the end of the whole jail")
        return took

    await in_time(2, crash)


async def test_a_page_that_crashes_is_not_the_browsers_end(runner: RunnerProcess, lease: Lease) -> None:
    async with Cdp(lease.cdp_url) as cdp:
        await cdp.call("Browser.getVersion")
        page = await cdp.new_page()
        await cdp.call("Inspector.enable", session=page)
        crashing = asyncio.create_task(cdp.call("Page.navigate", {"url": "chrome://crash"}, session=page))
        await cdp.event("Inspector.targetCrashed")
        crashing.cancel()
        assert (await cdp.call("Browser.getVersion"))["product"]
    assert lease.id in await runner.leases()


async def warm_browsers(runner: RunnerProcess, *leases: Lease) -> list[int]:
    """Pids of the browsers that are not leased; `leases` must be all leases."""
    await runner.ready()
    leased = [await browser_of(lease) for lease in leases]
    return [pid for pid in browsers_of(runner.pid) if pid not in leased]


async def test_a_warm_browser_that_is_killed_is_replaced(private: RunnerProcess) -> None:
    victim = (await warm_browsers(private))[0]

    os.kill(victim, signal.SIGKILL)
    await until(lambda: not command_line(victim), what="its end")
    await private.ready()

    async with private.lease() as lease, Cdp(lease.cdp_url) as cdp:
        assert await cdp.run("1") == 1


@pytest.mark.parametrize("identity", [("macos", "us"), ("windows", "de")], ids=["the default identity", "another"])
async def test_a_warm_browser_that_does_not_answer_is_never_leased(
    private: RunnerProcess, identity: tuple[str, str]
) -> None:
    frozen = await warm_browsers(private)
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)

    async with private.lease(os_family=identity[0], country=identity[1]) as lease:
        async with Cdp(lease.cdp_url) as cdp:
            assert await cdp.run("1") == 1
        for pid in frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


async def test_a_killed_socket_helper_is_replaced(runner: RunnerProcess, lease: Lease) -> None:
    def is_helper(pid: int) -> bool:
        return any("netns_helper" in word for word in command_line(pid))

    def both() -> list[int] | None:
        helpers = first_of_their_kind(runner.pid, is_helper)
        return helpers if len(helpers) == 2 else None

    helpers: list[int] = await until(both, what="the helpers for browsers and for headless shells")
    for helper in helpers:
        os.kill(helper, signal.SIGKILL)
    await until(lambda: not any(command_line(helper) for helper in helpers), what="their end")
    clients = [Cdp(lease.cdp_url) for _ in range(20)]
    async with contextlib.AsyncExitStack() as stack:
        for client in clients:
            await stack.enter_async_context(client)
            assert await client.run("1") == 1
    async with runner.lease() as another, Cdp(another.cdp_url) as cdp:
        assert await cdp.run("1") == 1


async def test_without_a_free_browser_a_call_ends_in_time_and_the_waiting_ones_are_served_in_order(
    private: RunnerProcess,
) -> None:
    limit = (await private.status()).limit
    held = [await private.grant() for _ in range(limit)]

    async def wait_in_vain() -> float:
        began = time.monotonic()
        with pytest.raises(Refused) as refused:
            await private.grant(wait_seconds=0.3)
        assert (refused.value.status, refused.value.code) == (504, "no_browser")
        took = time.monotonic() - began
        assert took > 0.25
        return took

    await in_time(5, wait_in_vain)

    served: list[int] = []

    async def caller(number: int) -> Lease:
        lease = await private.grant()
        served.append(number)
        return lease

    async def waiting(count: int) -> bool:
        return (await private.status()).waiting == count

    callers = []
    for number in range(3):
        callers.append(asyncio.create_task(caller(number)))
        await until(lambda: waiting(len(callers)), what="a caller in the queue")
    for released, lease in enumerate(held, 1):
        await lease.release()
        await until(lambda: len(served) >= min(released, 3), what="the next caller's browser")  # noqa: B023
    leases = await asyncio.gather(*callers)

    assert served == [0, 1, 2]
    assert (await private.status()).leased <= limit
    for lease in leases:
        await lease.release()


async def test_a_caller_that_hangs_up_leaves_the_queue(private: RunnerProcess) -> None:
    limit = (await private.status()).limit
    held = [await private.grant() for _ in range(limit)]
    caller = asyncio.create_task(private.grant())

    async def waiting(count: int) -> bool:
        return (await private.status()).waiting == count

    await until(lambda: waiting(1), what="a caller in the queue")
    caller.cancel()
    await until(lambda: waiting(0), what="an empty queue")
    for lease in held:
        await lease.release()
    assert await private.leases() == []


async def test_a_senseless_request_is_refused_and_leases_nothing(runner: RunnerProcess) -> None:
    before, leases = await runner.status(), await runner.leases()

    with pytest.raises(Refused) as refused:
        await runner.grant(country="fr")

    assert (refused.value.status, refused.value.code) == (400, "bad_request")
    assert (await runner.status()).leased <= before.leased  # some may just be going away
    assert await runner.leases() == leases
