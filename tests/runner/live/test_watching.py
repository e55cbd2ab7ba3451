"""What viewers of a browser see, and how soon."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from runner.live.hub import MAX_VIEWERS
from runner.live.viewer import LATER
from tests.fakes.site import Site
from tests.runner.harness import Lease, RunnerProcess, status_of
from tests.runner.live.agent import Agent
from tests.runner.live.watcher import (
    BLUE,
    GREEN,
    RED,
    Watcher,
    dimensions,
)

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


async def test_a_viewer_sees_the_page_and_how_it_changes(shared: Lease, agent: Agent, site: Site) -> None:
    await agent.show(site.url("/colour?of=red"))
    async with Watcher(shared) as watcher:
        await watcher.sees(RED)
        hello = watcher.said[0]
        assert (hello["type"], hello["mode"]) == ("hello", "view")
        assert set(hello) == {"type", "mode", "title", "url", "width", "height"}
        await watcher.told("page", title="red", url=site.url("/colour?of=red"))

        await agent.look("document.body.style.background = 'green'; document.title = 'Grown'")
        await watcher.sees(GREEN)
        await watcher.told("page", title="Grown")
        await agent.show(site.url("/colour?of=blue", host="localhost"))
        await watcher.sees(BLUE)


async def test_the_picture_is_the_whole_viewport_which_stays_as_it_was(shared: Lease, agent: Agent, site: Site) -> None:
    await agent.show(site.url("/colour?of=red"))
    look = "[innerWidth, innerHeight, devicePixelRatio, screen.width, document.visibilityState]"
    before = await agent.look(look)
    async with Watcher(shared) as watcher:
        await watcher.sees(RED)
        state = await watcher.told("page", width=before[0], height=before[1])
        width, height = dimensions(watcher.frames[-1])

        assert width <= 1280 and height <= 800
        assert abs(width / height - state["width"] / state["height"]) < 0.01
        assert await agent.look(look) == before


async def test_a_later_viewer_sees_a_page_that_does_not_change(shared: Lease, agent: Agent, site: Site) -> None:
    await agent.show(site.url("/colour?of=red"))
    async with Watcher(shared) as first:
        await first.sees(RED)
        state = await first.told("page", title="red", width=await agent.look("innerWidth"))
        async with Watcher(shared, "control") as second:
            await second.sees(RED)
            assert second.said[0] == state | {"type": "hello", "mode": "control"}


async def test_an_agent_that_has_done_nothing_yet_can_be_watched(lease: Lease) -> None:
    async with Watcher(lease) as watcher:
        await watcher.sees((255, 255, 255))
        assert (await watcher.told("page", url="about:blank"))["title"] == "about:blank"


async def test_the_view_follows_the_page_in_front_and_back(shared: Lease, agent: Agent, site: Site) -> None:
    await agent.show(site.url("/colour?of=red"))
    async with Watcher(shared) as watcher:
        await watcher.sees(RED)
        made = await agent.call("Target.createTarget", {"url": site.url("/colour?of=green")})
        await watcher.sees(GREEN)
        await agent.call("Target.activateTarget", {"targetId": shared.granted.page_id})
        await watcher.sees(RED)
        await agent.call("Target.activateTarget", made)
        await watcher.sees(GREEN)
        watcher.said.clear()
        await agent.call("Target.closeTarget", made)
        await watcher.sees(RED)
        await watcher.told("page", title="red")
        await agent.look(f"void window.open({site.url('/colour?of=blue')!r})")
        await watcher.sees(BLUE)


async def test_a_window_of_another_context_is_followed_and_left_again(shared: Lease, agent: Agent, site: Site) -> None:
    """Both windows are visible to Chromium; the first may have changed meanwhile."""
    await agent.show(site.url("/colour?of=red"))
    async with Watcher(shared) as watcher:
        await watcher.sees(RED)
        context = await agent.call("Target.createBrowserContext")
        await agent.call("Target.createTarget", {"url": site.url("/colour?of=green"), **context})
        await watcher.sees(GREEN)
        for colour in ("black", "white", "black", "white", "black", "blue"):
            await agent.look(f"document.body.style.background = {colour!r}; new Promise(requestAnimationFrame)")
        await agent.call("Target.disposeBrowserContext", context)
        await watcher.sees(BLUE)


async def test_frames_come_at_a_pace_and_the_last_one_is_complete(shared: Lease, agent: Agent, site: Site) -> None:
    await agent.show(site.url("/restless"))
    began = asyncio.get_running_loop().time()  # before the first: while we stand still, others wait for us
    async with Watcher(shared) as watcher:
        await watcher.until(lambda: len(watcher.frames) >= 50, what="fifty frames")
        paced = len(watcher.frames) - 10  # without those that may come at once
        assert asyncio.get_running_loop().time() - began > paced * 0.05 * 0.8

        await agent.look("document.body.innerHTML = ''; document.body.style.background = 'green'; 0")
        await watcher.sees(GREEN)


async def test_a_viewer_that_does_not_read_delays_no_other_and_gets_the_newest_picture(
    runner: RunnerProcess, shared: Lease, agent: Agent, site: Site
) -> None:
    await agent.show(site.url("/restless"))
    narrow = socket.create_connection(("127.0.0.1", runner.port))
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.setblocking(False)
    async with Watcher(shared) as quick, Watcher(shared, sock=narrow, max_queue=None) as slow:
        await slow.until(lambda: slow.frames, what="a first frame")
        slow.socket.transport.pause_reading()
        for _ in range(40):
            seen = len(quick.frames)
            await quick.until(lambda seen=seen: len(quick.frames) > seen, what="another frame for the other")
            await slow.socket.pong()  # who gives no sign of life is cut off
        assert await agent.look("1 + 1") == 2
        await agent.show(site.url("/colour?of=green"))
        await quick.sees(GREEN)

        before = len(slow.frames)
        slow.socket.transport.resume_reading()
        await slow.sees(GREEN)
        assert len(slow.frames) - before < 20  # the rest was dropped, not kept for it
    assert int(status_of(runner.pid)["VmRSS"].split()[0]) < 400 * 1024  # kB


async def test_there_is_room_for_some_viewers_and_the_next_is_told_so(lease: Lease) -> None:
    async with contextlib.AsyncExitStack() as stack:
        viewers = [await stack.enter_async_context(Watcher(lease)) for _ in range(MAX_VIEWERS)]
        async with Watcher(lease) as late:
            assert await late.closed() == LATER
            assert late.said == late.frames == []
        for viewer in viewers:
            await viewer.until(lambda viewer=viewer: viewer.frames, what="a frame")
        async with Watcher(lease, "control") as operator:  # whom mere watchers don't keep out
            await operator.until(lambda: operator.frames, what="a frame")


async def test_the_view_outlives_a_page_that_crashes(shared: Lease, agent: Agent, site: Site) -> None:
    await agent.show(site.url("/colour?of=red"))
    async with Watcher(shared) as watcher:
        await watcher.sees(RED)
        await agent.call("Inspector.enable", session=agent.page)
        crash = asyncio.create_task(agent.call("Page.crash", session=agent.page))
        await agent.event("Inspector.targetCrashed")
        crash.cancel()
        await agent.call("Page.navigate", {"url": site.url("/colour?of=green")}, session=agent.page)
        await watcher.sees(GREEN)
