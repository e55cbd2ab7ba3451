"""A popup waits until its client has set it up, as in the same Chromium without a gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Playwright, Route

from tests.fakes.site import Site, html
from tests.patience import PATIENCE
from tests.runner.client import Cdp
from tests.runner.conftest import attached
from tests.runner.harness import Lease, RunnerProcess, until

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

POPUPS = 5
OPENERS = {
    "a window": "void open(href)",
    "a window without an opener": "void open(href, '_blank', 'noopener')",
    "a link": "Object.assign(document.createElement('a'), {href, target: '_blank'}).click()",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["macos", "linux"])
async def leased(request: pytest.FixtureRequest, runner: RunnerProcess) -> AsyncIterator[Lease]:
    async with runner.lease(os_family=request.param) as lease:
        yield lease


@pytest_asyncio.fixture(loop_scope="session")
async def context(leased: Lease, playwright: Playwright) -> AsyncIterator[BrowserContext]:
    browser = await attached(playwright, leased.cdp_url)
    context = await browser.new_context(
        extra_http_headers={"x-mine": "yes"}, viewport={"width": 620, "height": 410}, locale="de-DE"
    )
    context.set_default_timeout(PATIENCE * 1000)
    yield context
    await browser.close()


@pytest.mark.parametrize("way", OPENERS)
async def test_a_popup_has_all_that_its_client_has_set(context: BrowserContext, site: Site, way: str) -> None:
    site.pages["/pop"] = lambda query: html("<script>first = [mine, innerWidth, navigator.language]</script>")
    routed: list[str] = []

    async def keep(route: Route) -> None:
        routed.append((await route.request.all_headers()).get("x-mine", "no"))
        await route.continue_()

    await context.add_init_script("window.mine = 'mine'")
    await context.route("**/pop", keep)
    page = await context.new_page()
    await page.goto(site.url("/hello"))
    seen = []
    for _ in range(POPUPS):
        async with page.expect_popup() as opening:
            await page.evaluate(f"{{ const href = {site.url('/pop')!r}; {OPENERS[way]} }}")
        popup = await opening.value
        await popup.wait_for_url("**/pop")
        seen.append(await popup.evaluate("first"))
        assert site.last("/pop").headers["x-mine"] == "yes"
        await popup.close()

    assert routed == ["yes"] * POPUPS
    assert seen == [["mine", 620, "de-DE"]] * POPUPS


async def test_windows_that_open_together_are_all_set_up(context: BrowserContext, site: Site) -> None:
    site.pages["/pop"] = lambda query: html("<script>first = mine</script>")
    routed: list[str] = []

    async def keep(route: Route) -> None:
        routed.append(route.request.url)
        await route.continue_()

    await context.add_init_script("window.mine = 'mine'")
    await context.route("**/pop", keep)
    page = await context.new_page()
    await page.goto(site.url("/hello"))

    await page.evaluate(f"for (let n = 0; n < {POPUPS}; n++) void open({site.url('/pop')!r})")
    await until(lambda: len(context.pages) == POPUPS + 1, what="the windows")
    popups = [one for one in context.pages if one is not page]
    for popup in popups:
        await popup.wait_for_url("**/pop")

    assert [await popup.evaluate("first") for popup in popups] == ["mine"] * POPUPS
    assert len(routed) == POPUPS


async def test_a_popup_that_waits_for_a_client_runs_when_that_client_leaves(leased: Lease, site: Site) -> None:
    site.pages["/pop"] = lambda query: html("popped")
    before = len(site.requests)
    async with Cdp(leased.cdp_url) as first, Cdp(leased.cdp_url) as cdp:
        waits = {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True}
        await first.call("Target.setAutoAttach", waits)
        page = await cdp.attach(leased.granted.page_id)
        await cdp.open(site.url("/hello"), session=page)
        # It returns when the window runs: the opener and the window share a renderer.
        opening = asyncio.create_task(cdp.run(f"void open({site.url('/pop')!r})", session=page))
        await until(lambda: any(e["method"] == "Target.attachedToTarget" for e in first.events), what="the popup")

        await first.socket.close()

        await asyncio.wait_for(opening, PATIENCE)
        await until(lambda: "/pop" in site.paths()[before:], what="the popup's request")
