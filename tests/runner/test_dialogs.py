"""An open JavaScript dialog is answered by the client that is told of it, or else by the runner."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Playwright

from tests.fakes.site import Site, html
from tests.patience import PATIENCE
from tests.runner.client import Cdp, CdpRefused
from tests.runner.conftest import attached
from tests.runner.harness import Lease, RunnerProcess, until

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

ASK = "[alert('a'), confirm('b'), prompt('c')].map(String)"


@pytest.mark.parametrize("level", ["page", "browser"])
async def test_a_raw_client_that_never_enabled_page_goes_on(lease: Lease, level: str) -> None:
    async with Cdp(lease.cdp_url) as cdp:
        session = await cdp.attach(lease.granted.page_id) if level == "browser" else None

        assert await cdp.run(ASK, session=session) == ["undefined", "false", "null"]


async def test_a_page_that_no_client_watches_goes_on(runner: RunnerProcess, site: Site) -> None:
    site.pages["/greeting"] = lambda query: html("<title>Greeted</title><script>alert('hello')</script><p>Over")
    async with (
        runner.lease(initial_url=site.url("/greeting")) as lease,
        Cdp(lease.cdp_url) as cdp,
    ):
        await until(lambda: cdp.holds("!!document.querySelector('p')"), what="the end of the dialog")


async def test_a_popup_of_an_unwatched_page_goes_on(lease: Lease, site: Site) -> None:
    site.pages["/greeting"] = lambda query: html("<script>alert('hello'); opener.greeted = true</script>")
    async with Cdp(lease.cdp_url) as cdp:
        await cdp.open(site.url("/hello"))
        await cdp.call("Page.disable")
        await cdp.run(f"void window.open({site.url('/greeting')!r})")

        await until(lambda: cdp.holds("window.greeted"), what="the end of the popup's dialog")


async def test_a_page_that_asks_before_it_is_left_is_left(lease: Lease, site: Site) -> None:
    async with Cdp(lease.cdp_url) as cdp:
        await cdp.call("Page.navigate", {"url": site.url("/hello")})
        await until(lambda: cdp.holds("document.title === 'Hello'"), what="the page")
        await cdp.run("addEventListener('beforeunload', event => event.preventDefault())")
        for kind in ("mousePressed", "mouseReleased"):  # a page that was never touched may not ask
            click = {"type": kind, "x": 50, "y": 50, "button": "left", "clickCount": 1}
            await cdp.call("Input.dispatchMouseEvent", click)

        await cdp.call("Page.navigate", {"url": site.url("/portrait")})

        await until(lambda: cdp.holds("document.title === 'Portrait'"), what="the next page")


async def test_a_dialog_of_a_client_that_enabled_page_waits_for_its_answer(lease: Lease) -> None:
    async with Cdp(lease.cdp_url) as cdp, Cdp(lease.cdp_url) as raw:
        watched = await cdp.attach(lease.granted.page_id)
        await cdp.call("Page.enable", session=watched)
        asking = asyncio.create_task(cdp.run("prompt('who')", session=watched))
        await cdp.event("Page.javascriptDialogOpening", type="prompt")
        # By the time that the runner has answered a later dialog, it would have answered this one.
        assert await raw.run(ASK, session=await raw.new_page()) == ["undefined", "false", "null"]

        assert not asking.done()
        answer = {"accept": True, "promptText": "me"}
        await cdp.call("Page.handleJavaScriptDialog", answer, session=watched)
        assert await asking == "me"


async def test_a_client_that_leaves_without_an_answer_leaves_no_dialog(lease: Lease) -> None:
    async with Cdp(lease.cdp_url) as raw:
        async with Cdp(lease.cdp_url) as cdp:
            await cdp.call("Page.enable")
            asking = asyncio.create_task(raw.run("confirm('still there?')"))
            await cdp.event("Page.javascriptDialogOpening")

        assert await asyncio.wait_for(asking, PATIENCE) is False


async def test_playwright_answers_its_own_dialogs(playwright: Playwright, lease: Lease, site: Site) -> None:
    browser = await attached(playwright, lease.cdp_url)
    page = browser.contexts[0].pages[0]
    page.on("dialog", lambda dialog: dialog.accept("mine" if dialog.type == "prompt" else None))

    for _ in range(3):
        assert await page.evaluate(ASK) == ["undefined", "true", "mine"]
    await browser.close()


async def test_to_answer_without_a_dialog_is_refused_as_by_chromium(lease: Lease) -> None:
    async with Cdp(lease.cdp_url) as cdp:
        await cdp.call("Page.enable")
        with pytest.raises(CdpRefused, match="No dialog is showing"):
            await cdp.call("Page.handleJavaScriptDialog", {"accept": True})
