"""The live view's page in a real browser, showing and steering another one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import ConsoleMessage, Page, async_playwright, expect

from runner.browsers import find_chromium, find_headless_shell
from stack.harness import Stack
from tests.fakes.cable import Cable
from tests.fakes.site import Site, html
from tests.integration.driving import Member, evaluate
from tests.patience import PATIENCE, until

pytestmark = pytest.mark.integration

FORM = """<!doctype html><title>&lt;img src=x onerror=alert(1)&gt; a form</title>
<style>body { background: #205080 } input { position: absolute; left: 30%; width: 40%; height: 8% }</style>
<input id="one" style="top: 20%"><input id="two" style="top: 60%">
<script>globalThis.wheels = 0; addEventListener("wheel", event => { wheels += event.deltaY })</script>"""

KEEP_STATES = """globalThis.states = []; addEventListener("DOMContentLoaded", () => new MutationObserver(() => {
  const { state } = document.body.dataset;
  if (states.at(-1) !== state) states.push(state);
}).observe(document.body, { attributes: true }))"""

PICTURE = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const [red, green, blue] = data;
  return { width: canvas.width, corner: [red, green, blue] };
}"""


@pytest.fixture(scope="module", autouse=True)
def _patience() -> Iterator[None]:
    expect.set_options(timeout=PATIENCE * 1000)
    yield
    expect.set_options(timeout=None)


@pytest.fixture
def agent(member: Member, site: Site) -> Iterator[dict[str, Any]]:
    site.pages["/form"] = lambda query: html(FORM)
    agent = member.burner(initial_url=site.url("/form"))
    yield agent | member.get(f"/v1/agents/{agent['id']}/live").json()
    member.delete(f"/v1/agents/{agent['id']}")


@asynccontextmanager
async def visitor(stack: Stack, *, gateway: int | None = None) -> AsyncIterator[Page]:
    """An ordinary browser. With `gateway` it reaches the gateway at that port."""
    shell = find_headless_shell(os.environ) or find_chromium(os.environ)
    rule = f"--host-resolver-rules=MAP 127.0.0.1:{stack.port + 1} 127.0.0.1:{gateway}"
    complaints: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        # That a connection was refused or lost is what some tests are about; the console tells it as an error.
        expected = ("WebSocket connection", "Failed to load resource")
        if message.type == "error" and not message.text.startswith(expected):
            complaints.append(message.text)

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shell, args=[rule] if gateway else [], timeout=PATIENCE * 1000
        )
        context = await browser.new_context(viewport={"width": 1200, "height": 760})
        context.set_default_timeout(PATIENCE * 1000)
        await context.grant_permissions(["clipboard-read", "clipboard-write"], origin=stack.api_url)
        page = await context.new_page()
        await page.add_init_script(KEEP_STATES)
        page.on("console", hear)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page
        await browser.close()
    assert complaints == []


async def until_remote(agent: dict[str, Any], expression: str, value: object) -> None:
    """Until the page in the agent's browser has the value. On a thread: the event loop may have to carry its bytes."""
    await asyncio.to_thread(until, lambda: evaluate(agent, expression) == value, what=f"{expression} = {value!r}")


async def is_live(page: Page) -> None:
    await expect(page.locator("body")).to_have_attribute("data-state", "live")


async def was(page: Page, state: str, times: int) -> None:
    """Until it has been in that state so many times, however shortly."""
    await page.wait_for_function(
        "([state, times]) => states.filter(one => one === state).length >= times", arg=[state, times]
    )


async def shows(page: Page, *colour: int) -> None:
    """Until the upper left corner of the picture has about this colour."""
    await page.wait_for_function(
        f"""colour => {{ const {{ corner }} = ({PICTURE})(document.getElementById("canvas"));
        return corner.every((part, n) => Math.abs(part - colour[n]) < 12) }}""",
        arg=list(colour),
    )


async def point(page: Page, x: float, y: float) -> tuple[float, float]:
    """A place in the picture as one on the visitor's screen."""
    box = await page.locator("#canvas").bounding_box()
    assert box is not None
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


async def test_the_link_shows_the_browser(stack: Stack, agent: dict[str, Any], site: Site) -> None:
    async with visitor(stack) as page:
        await page.goto(agent["live_url"])
        await is_live(page)
        await shows(page, 0x20, 0x50, 0x80)
        picture = await page.locator("#canvas").evaluate(PICTURE)
        assert 600 < picture["width"] <= 1280
        await expect(page.locator("#title")).to_have_text("<img src=x onerror=alert(1)> a form")
        assert await page.locator("#title *").count() == 0  # it is text, whatever the page made of it
        await expect(page.locator("#url")).to_have_text(site.url("/form"))
        assert await page.locator("#keys").count() == 0

        evaluate(agent, "document.body.style.background = '#a03020'; document.title = 'Now red'; 0")
        await shows(page, 0xA0, 0x30, 0x20)
        await expect(page.locator("#title")).to_have_text("Now red")

        await page.locator("#canvas").click()
        await page.keyboard.type("nothing")
    assert evaluate(agent, "one.value + two.value") == ""


async def test_the_control_link_can_fill_in_a_form(stack: Stack, agent: dict[str, Any]) -> None:
    async with visitor(stack) as page:
        await page.goto(agent["control_url"])
        await is_live(page)
        await shows(page, 0x20, 0x50, 0x80)

        await page.mouse.click(*await point(page, 0.5, 0.24))
        await page.keyboard.type("Ada L")
        await page.keyboard.press("Backspace")
        await page.keyboard.insert_text("数学者")  # as an input method does
        await until_remote(agent, "one.value", "Ada 数学者")
        await page.keyboard.press("Tab")
        await until_remote(agent, "document.activeElement.id", "two")

        await page.evaluate("navigator.clipboard.writeText('pasted: \\u00e9 \\u6570')")
        await page.keyboard.press("Control+V")
        await until_remote(agent, "two.value", "pasted: é 数")
        await page.keyboard.press("Control+A")
        await page.keyboard.press("Control+X")
        await expect(page.locator("#toast")).to_have_text("Copied")
        assert await page.evaluate("navigator.clipboard.readText()") == "pasted: é 数"
        await until_remote(agent, "two.value", "")

        await page.mouse.wheel(0, 240)
        await until_remote(agent, "wheels", 240)


async def test_it_reconnects_by_itself_when_the_connection_is_cut(stack: Stack, agent: dict[str, Any]) -> None:
    async with Cable(stack.port + 1) as cable, visitor(stack, gateway=cable.port) as page:
        await page.goto(agent["control_url"])
        await is_live(page)
        for count, (hexadecimal, colour) in enumerate({"#00ff00": (0, 255, 0), "#0000ff": (0, 0, 255)}.items(), 1):
            assert cable.made == count
            cable.cut()
            await was(page, "reconnecting", count)
            evaluate(agent, f"document.body.style.background = '{hexadecimal}'; 0")
            await is_live(page)
            await shows(page, *colour)
        await page.mouse.click(*await point(page, 0.5, 0.24))
        await page.keyboard.type("back")
        await until_remote(agent, "one.value", "back")


async def test_it_says_when_the_session_has_ended(
    stack: Stack, member: Member, agent: dict[str, Any], site: Site
) -> None:
    async with visitor(stack) as page:
        await page.goto(agent["live_url"])
        await is_live(page)
        member.delete(f"/v1/agents/{agent['id']}")

        await expect(page.locator("#news")).to_have_text("The session has ended")
        await expect(page.locator("#detail")).to_have_text("It was ended by its owner.")
        await expect(page.locator("body")).to_have_attribute("data-state", "ended")
        await shows(page, 0, 0, 0)
        again = await page.context.new_page()
        answer = await again.goto(agent["live_url"])
        assert answer is not None and answer.status == 410
        await expect(again.locator("h1")).to_have_text("The session has ended")


async def test_a_page_without_a_connection_at_the_end_learns_of_it(
    stack: Stack, member: Member, agent: dict[str, Any]
) -> None:
    async with Cable(stack.port + 1) as cable, visitor(stack, gateway=cable.port) as page:
        await page.goto(agent["live_url"])
        await is_live(page)
        await page.route("**/live/*", lambda route: route.abort())  # the API is away, too
        cable.cut()
        await was(page, "reconnecting", 1)
        member.delete(f"/v1/agents/{agent['id']}")
        await page.unroute("**/live/*")

        await expect(page.locator("#news")).to_have_text("The session has ended")
