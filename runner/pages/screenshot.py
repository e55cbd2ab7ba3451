"""Screenshots: the viewport as it is scrolled, or the whole page within bounds, with its lazy images loaded."""

from __future__ import annotations

from runner.pages.scripts import scroll_expression
from runner.pages.tab import Tab
from runner.wire import MAX_SCREENSHOT_AREA, MAX_SCREENSHOT_HEIGHT, MAX_SCREENSHOT_WIDTH

SCROLL_MS = 3000

PNG = {"format": "png", "optimizeForSpeed": True}


async def screenshot(tab: Tab, *, full_page: bool) -> str:
    """PNG in base64. Raises TabGone and CdpError."""
    if not full_page:
        return str((await tab.call("Page.captureScreenshot", PNG, timeout=120))["data"])
    metrics = await tab.call("Page.getLayoutMetrics")
    if metrics["cssContentSize"]["height"] > metrics["cssLayoutViewport"]["clientHeight"]:
        await tab.evaluate(
            scroll_expression(max_height=MAX_SCREENSHOT_HEIGHT, patience_ms=SCROLL_MS), await_promise=True
        )
        metrics = await tab.call("Page.getLayoutMetrics")
    width, height = bounded(metrics["cssContentSize"]["width"], metrics["cssContentSize"]["height"])
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    beyond = {**PNG, "clip": clip, "captureBeyondViewport": True}
    return str((await tab.call("Page.captureScreenshot", beyond, timeout=120))["data"])


def bounded(width: float, height: float) -> tuple[float, float]:
    """The part of a page that a picture shows. Pure."""
    width = min(width, MAX_SCREENSHOT_WIDTH)
    return width, min(height, MAX_SCREENSHOT_HEIGHT, MAX_SCREENSHOT_AREA // max(1, round(width)))
