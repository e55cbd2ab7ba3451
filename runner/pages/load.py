"""Loading one page in a tab: navigate, wait, read. Every way in which a page can disappoint is a `PageFailure`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from runner.cdp import CdpError, Params
from runner.pages.scripts import find_expression, read_expression, read_when_ready_expression
from runner.pages.tab import Tab
from runner.wire import MAX_SCREENSHOT_HEIGHT, PageFailure, PageFailureCode, PageRequest, PageResult

SELECTOR_PAUSE_SECONDS = 0.05
WORLD = {"worldName": "browsa"}

Found = dict[str, Any]

# What Chromium says when the document under our script was replaced: look again at the new one.
REPLACED = (
    "Cannot find context",
    "Execution context was destroyed",
    "Inspected target navigated",
    "uniqueContextId",
    "Promise was collected",
)


class Failed(Exception):
    """Ends a load with a `PageFailure`."""

    def __init__(self, failure: PageFailureCode, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.failure = failure
        self.message = message
        self.status = status


async def load(tab: Tab, request: PageRequest) -> PageResult | PageFailure:
    """What `request.url` is, within `request.timeout_ms`. Raises TabGone when the shell died under it."""
    started = time.monotonic()
    stage = "answer"
    try:
        async with asyncio.timeout(request.timeout_ms / 1000):
            document = await _navigate(tab, request)
            stage = f"reach {request.wait_until!r}"
            async with _reading(tab, request, document) as early:
                await tab.reach(request.wait_until)
                stage = "be read"
                found = await early()
            if found is None:
                if request.wait_for is not None:
                    stage = f"show {request.wait_for!r}"
                    await _find(tab, request.wait_for)
                stage = "be read"
                found = await _read(tab, request)
            screenshot = await _screenshot(tab, full_page=request.full_page) if _wants_screenshot(request) else None
    except TimeoutError:
        return PageFailure("timeout", f"the page did not {stage} within {request.timeout_ms} ms", request.url)
    except Failed as failed:
        return PageFailure(failed.failure, failed.message, request.url, failed.status)
    return PageResult(
        url=found["url"],
        http_status=found["status"],
        title=found["title"],
        duration_ms=round((time.monotonic() - started) * 1000),
        html=found.get("html"),
        text=found.get("text"),
        links=found.get("links"),
        screenshot_png_b64=screenshot,
    )


def _wants_screenshot(request: PageRequest) -> bool:
    return "screenshot" in request.formats


async def _navigate(tab: Tab, request: PageRequest) -> str:
    """The name of the document that was begun; see `Tab.document`."""
    if request.block_resources:
        patterns = [
            {"urlPattern": "*", "resourceType": name.capitalize()}  # CDP's Network.ResourceType
            for name in request.block_resources
        ]
        await tab.call("Fetch.enable", {"patterns": patterns})
    if request.wait_until == "networkidle":
        await tab.watch_network()
    try:
        reply = await tab.call("Page.navigate", {"url": request.url}, timeout=request.timeout_ms / 1000 + 1)
    except CdpError as error:
        raise Failed("unreachable", str(error)) from error
    if tab.download is not None or reply.get("isDownload"):
        raise Failed("download", f"the URL is a file to download ({tab.download or 'unnamed'}), not a page")
    if "errorText" in reply:
        raise Failed("unreachable", reply["errorText"])
    document = str(reply.get("loaderId", ""))
    tab.sent_to(document)
    return document


@asynccontextmanager
async def _reading(
    tab: Tab, request: PageRequest, document: str
) -> AsyncIterator[Callable[[], Awaitable[Found | None]]]:
    """Has `document` read as soon as it is ready, so that no round trip follows the news that it is.

    Gives what to call once the tab has reached its state: it returns None if the page must be read then, because this
    way there is no waiting for what `request` waits for, or because another document has taken this one's place.
    """
    expression = read_when_ready_expression(request) if request.wait_for is None else None
    if expression is None:
        yield _nothing_yet
        return
    reading = asyncio.ensure_future(_evaluate(tab, expression, await_promise=True))

    async def found() -> Found | None:
        if tab.document != document:
            return None
        try:
            return _found(await reading)
        except CdpError as error:
            if not _replaced(error):
                raise
            await tab.reach(request.wait_until)
            return None

    try:
        yield found
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _nothing_yet() -> None:
    return None


async def _find(tab: Tab, selector: str) -> None:
    """Wait for an element. Looks again twenty times a second: an observer would end with each new document."""
    while True:
        try:
            reply = await _evaluate(tab, find_expression(selector))
        except CdpError as error:
            if not _replaced(error):
                raise
        else:
            if "exceptionDetails" in reply:
                raise Failed("bad_selector", f"{selector!r} is not a CSS selector")
            if reply["result"].get("value"):
                return
        await asyncio.sleep(SELECTOR_PAUSE_SECONDS)


async def _read(tab: Tab, request: PageRequest) -> Found:
    expression = read_expression(request)
    while True:
        try:
            reply = await _evaluate(tab, expression)
        except CdpError as error:
            if not _replaced(error):
                raise
            await tab.reach(request.wait_until)
            continue
        return _found(reply)


def _found(reply: Params) -> Found:
    if "exceptionDetails" in reply:
        raise Failed("crashed", "the page could not be read")
    found: Found = reply["result"]["value"]
    if found.get("tooLarge"):
        raise Failed("too_large", f"the page has {found['tooLarge']} characters", status=found["status"])
    return found


async def _evaluate(tab: Tab, expression: str, *, await_promise: bool = False) -> Params:
    world = await tab.call("Page.createIsolatedWorld", {"frameId": tab.frame, **WORLD})
    script = {"expression": expression, "contextId": world["executionContextId"], "returnByValue": True}
    return await tab.call("Runtime.evaluate", {**script, "awaitPromise": await_promise}, timeout=120)


async def _screenshot(tab: Tab, *, full_page: bool) -> str:
    metrics = await tab.call("Page.getLayoutMetrics")
    size = metrics["cssContentSize"] if full_page else metrics["cssVisualViewport"]
    width = size["width"] if full_page else size["clientWidth"]
    height = size["height"] if full_page else size["clientHeight"]
    clip = {"x": 0, "y": 0, "width": width, "height": min(height, MAX_SCREENSHOT_HEIGHT), "scale": 1}
    shot = await tab.call(
        "Page.captureScreenshot",
        {"format": "png", "clip": clip, "captureBeyondViewport": full_page, "optimizeForSpeed": True},
        timeout=120,
    )
    return str(shot["data"])


def _replaced(error: CdpError) -> bool:
    return any(words in str(error) for words in REPLACED)
