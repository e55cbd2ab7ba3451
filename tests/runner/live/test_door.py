"""Who is let in to watch a browser, and what is left when the viewers or the browser are gone."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import connect

from runner.live.viewer import ENDED
from tests.fakes.site import Site, html
from tests.patience import PATIENCE
from tests.runner.client import Cdp
from tests.runner.harness import POOL_SIZE, Lease, RunnerProcess, until
from tests.runner.live.watcher import (
    Watcher,
    live_path,
    live_url,
)
from tests.runner.test_gateway import UPGRADE, ask, is_envelope

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "http://127.0.0.1", "https://127.0.0.1:8000"])
@pytest.mark.parametrize("mode", ["view", "control"])
async def test_pages_of_others_are_refused_before_the_upgrade(
    runner: RunnerProcess, shared: Lease, origin: str, mode: str
) -> None:
    answer = await ask(runner, live_path(shared, mode), **UPGRADE, Origin=origin)

    assert answer.status_code == 403
    assert is_envelope(answer, "FORBIDDEN")


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8000", "http://trusted.example"])
async def test_our_own_page_is_let_in_and_those_that_the_operator_trusts(shared: Lease, origin: str) -> None:
    async with Watcher(shared, origin=origin) as watcher:
        await watcher.told("hello")


async def test_the_page_may_show_a_browser_but_not_drive_it_over_cdp(runner: RunnerProcess, shared: Lease) -> None:
    assert (await ask(runner, shared.cdp_path, **UPGRADE, Origin="http://127.0.0.1:8000")).status_code == 403


async def test_a_link_opens_its_own_door_only(runner: RunnerProcess, shared: Lease) -> None:
    granted = shared.granted
    for capability in (granted.live_view, granted.live_control):
        for path in (f"ws/page/{granted.page_id}", "json/list"):
            assert (await ask(runner, f"/api/v1/cdp/{capability}/{path}", **UPGRADE)).status_code == 404
    for capability in (granted.profile, "r1-" + "0" * 48, "r1", ""):
        answer = await ask(runner, f"/api/v1/live/{capability}", **UPGRADE)
        assert answer.status_code == 404
        assert is_envelope(answer, "NOT_FOUND")


async def test_without_an_upgrade_it_says_what_is_spoken_here(runner: RunnerProcess, shared: Lease) -> None:
    answer = await ask(runner, live_path(shared))

    assert answer.status_code == 426
    assert is_envelope(answer, "BAD_REQUEST")


def connections(runner: RunnerProcess) -> int:
    """What the runner has open: each browser's files, and sockets of which it keeps batches of eight ready."""
    return len(os.listdir(f"/proc/{runner.pid}/fd"))


async def test_viewers_are_told_when_the_session_ends_and_the_links_are_dead(runner: RunnerProcess) -> None:
    lease = await runner.grant()
    async with Watcher(lease) as watcher, Watcher(lease, "control") as operator:
        await watcher.until(lambda: watcher.frames, what="a picture")
        await lease.release()

        for viewer in (watcher, operator):
            await viewer.told("ended", reason="deleted")
            assert await viewer.closed() == ENDED
    for mode in ("view", "control"):
        assert (await ask(runner, live_path(lease, mode), **UPGRADE)).status_code == 404
        with pytest.raises(websockets.InvalidStatus, match="404"):
            await connect(live_url(lease, mode), proxy=None, open_timeout=PATIENCE)


async def test_they_are_told_why_it_ended(runner: RunnerProcess) -> None:
    async with contextlib.AsyncExitStack() as stack:

        async def watch(lease: Lease) -> Watcher:
            return await stack.enter_async_context(Watcher(lease))

        closing = await runner.grant()
        first = await watch(closing)
        _expiring, second = await runner.brief_lease(watch)
        await first.told("hello")
        async with Cdp(closing.cdp_url) as agent:
            await agent.call("Browser.close")

        await first.told("ended", reason="closed")
        await second.told("ended", reason="expired")
        assert (await first.closed(), await second.closed()) == (ENDED, ENDED)


async def test_nothing_is_left_of_viewers_that_are_gone(runner: RunnerProcess, lease: Lease) -> None:
    await runner.at_rest(warm=POOL_SIZE)  # what other tests took is made again, and opens files
    before = connections(runner)
    for _ in range(12):
        async with Watcher(lease) as one, Watcher(lease, "control") as other:
            await one.until(lambda one=one: one.frames, what="a picture")
            await other.until(lambda other=other: other.frames, what="a picture")
    silent = await connect(live_url(lease), proxy=None, open_timeout=PATIENCE)
    silent.transport.abort()  # without a goodbye

    await until(lambda: connections(runner) <= before + 8, what="the end of every connection")
    async with Watcher(lease) as again:
        await again.until(lambda: again.frames, what="a picture for the next one")


@pytest.mark.parametrize(
    ("family", "country", "platform", "languages", "timezone"),
    [
        ("windows", "de", "Win32", ["de-DE", "de", "en-US", "en"], "Europe/Berlin"),
        ("macos", "us", "MacIntel", ["en-US", "en"], "America/New_York"),
    ],
)
async def test_the_identity_holds_during_and_after_a_live_view(
    runner: RunnerProcess, site: Site, family: str, country: str, platform: str, languages: list[str], timezone: str
) -> None:
    """The agent's client was there before, so the live view's own sessions are the newest ones."""
    locale = {"de": "de", "us": "en-US"}[country]  # of `Intl`, as a Chrome in that language has it
    site.pages["/report"] = lambda query: html(
        f"""<script src="/portrait.js"></script><script>
        fetch("/seen?" + new URLSearchParams({{of: "{query["of"]}", what: JSON.stringify(portrait())}})).then(() => {{
          if ({query["of"]!r} === "first") for (let n = 0; n < 3; n++) window.open("/report?of=opened" + n); }})
        </script>"""
    )
    seen: dict[str, Any] = {}
    site.pages["/seen"] = lambda query: (seen.update({query["of"]: json.loads(query["what"])}), html(""))[1]

    async def visit(*expected: str, by: Cdp, url: str) -> None:
        seen.clear()
        await by.call("Page.navigate", {"url": url})
        await until(lambda: set(expected) <= set(seen), what=f"the reports of {expected}")
        for name in expected:
            portrait = seen[name]
            assert (portrait["platform"], portrait["languages"]) == (platform, languages), name
            assert (portrait["timezone"], portrait["locale"]) == (timezone, locale), name
            assert "Headless" not in json.dumps(portrait) and portrait["webdriver"] is False

    async with runner.lease(os_family=family, country=country) as lease, Cdp(lease.cdp_url) as agent:

        async def is_back() -> bool:
            """In the milliseconds in which a session begins or ends a page may see the host's own platform."""
            await agent.open(site.url("/portrait", host="localhost"))
            return await agent.holds(f"seen.platform === {platform!r}")

        await agent.run("1")
        async with Watcher(lease) as watcher:
            await watcher.until(lambda: watcher.frames, what="a picture")
            await until(is_back, what="the platform after the first viewer")
            opened = ("first", "opened0", "opened1", "opened2")
            await visit(*opened, by=agent, url=site.url("/report?of=first"))
            for number, host in enumerate(("localhost", "127.0.0.1") * 2):
                await visit(f"again{number}", by=agent, url=site.url(f"/report?of=again{number}", host=host))

        await until(is_back, what="the platform after the last viewer")
        for number, host in enumerate(("127.0.0.1", "localhost") * 2):
            await visit(f"after{number}", by=agent, url=site.url(f"/report?of=after{number}", host=host))
