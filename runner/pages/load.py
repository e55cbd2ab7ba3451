"""Loading one page in a tab: navigate, wait, read. Every way in which a page can disappoint is a `PageFailure`.

That loading has ended is what Chromium's own events say, never the page's: a page may be sandboxed, stop its loading,
take its listeners away, or lead to a download. Where it ended up is checked before anything is read.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from runner.cdp import CdpError, Params
from runner.pages.frames import filled
from runner.pages.raw import Answer, NoAnswer, read_raw
from runner.pages.screenshot import screenshot
from runner.pages.scripts import MAX_HTML_CHARS, find_expression, read_expression
from runner.pages.tab import MAX_DOCUMENTS, NoEnd, Tab
from runner.wire import PageFailure, PageFailureCode, PageRequest, PageResult

SELECTOR_PAUSE_SECONDS = 0.05

PAGES = frozenset({"text/html", "application/xhtml+xml"})

Found = dict[str, Any]

# What Chromium says when the document under our script was replaced: look again at the new one.
REPLACED = (
    "Cannot find context",
    "Execution context was destroyed",
    "Inspected target navigated",
    "uniqueContextId",
    "Promise was collected",
)


class LoadFailed(Exception):
    """Ends a load with a `PageFailure`."""

    def __init__(
        self, failure: PageFailureCode, message: str, *, status: int | None = None, url: str | None = None
    ) -> None:
        super().__init__(message)
        self.failure = failure
        self.message = message
        self.status = status
        self.url = url


async def load(tab: Tab, request: PageRequest) -> PageResult | PageFailure:
    """What `request.url` is, within `request.timeout_ms`. Raises TabGone when the shell died under it."""
    loading = _Loading(tab, request)
    try:
        async with asyncio.timeout(request.timeout_ms / 1000):
            return await (loading.body() if "body" in request.formats else loading.page())
    except TimeoutError:
        message = f"the page did not {loading.stage} within {request.timeout_ms} ms"
        return PageFailure("timeout", message, request.url)
    except LoadFailed as failed:
        return PageFailure(failed.failure, failed.message, failed.url or request.url, failed.status)


class _Loading:
    def __init__(self, tab: Tab, request: PageRequest) -> None:
        self._tab = tab
        self._request = request
        self._started = time.monotonic()
        self._until = self._started + request.timeout_ms / 1000
        self.stage = "answer"

    async def body(self) -> PageResult:
        """The answer as it was sent."""
        request = self._request
        try:
            answer = await read_raw(self._tab, request.url, max_bytes=4 * request.max_chars, timeout=self._left() + 1)
        except NoAnswer as none:
            raise LoadFailed("unreachable", str(none)) from none
        return PageResult(
            url=answer.url,
            http_status=answer.status,
            title="",
            duration_ms=self._took(),
            body=answer.text[: request.max_chars],
            content_type=answer.mime_type,
        )

    async def page(self) -> PageResult:
        tab, request = self._tab, self._request
        if request.block_resources:
            patterns = [
                {"urlPattern": "*", "resourceType": name.capitalize()}  # CDP's Network.ResourceType
                for name in request.block_resources
            ]
            await tab.call("Fetch.enable", {"patterns": patterns})
        if request.wait_until == "networkidle":
            await tab.watch_network()
        try:
            await self._navigate(request.url)
            found = await self._follow()
        except LoadFailed as failed:
            if failed.failure != "download":
                raise
            found = await self._file(failed)
        picture = await screenshot(tab, full_page=request.full_page) if "screenshot" in request.formats else None
        if "source" in found:
            found = await self._source(found)
        else:
            found = {**found, **_joined(await filled(tab, request, found), max_chars=request.max_chars)}
        return PageResult(
            url=found["url"],
            http_status=found["status"],
            title=found["title"],
            duration_ms=self._took(),
            html=found.get("html"),
            text=found.get("text"),
            links=found.get("links"),
            screenshot_png_b64=picture,
            flat=found.get("flat"),
            content_type=found["type"],
        )

    async def _navigate(self, url: str) -> None:
        try:
            reply = await self._tab.call("Page.navigate", {"url": url}, timeout=self._left() + 1)
        except CdpError as error:
            raise LoadFailed("unreachable", str(error), url=url) from error
        if reply.get("isDownload"):
            name = self._tab.download or "unnamed"
            raise LoadFailed("download", f"the URL is a file to download ({name}), not a page", url=url)
        if "errorText" in reply:
            raise LoadFailed("unreachable", reply["errorText"], url=url)
        document = str(reply.get("loaderId", ""))
        self._tab.sent_to(document)
        await self._tab.open_world(document)

    async def _follow(self) -> Found:
        """What the document holds at which the tab ends up."""
        latest = None
        try:
            while True:
                found = await self._read()
                if found is not None and not self._tab.moving:
                    return found
                latest = found or latest
        except NoEnd:
            if latest is None:
                message = f"the page led from one document to the next, through {MAX_DOCUMENTS}"
                raise LoadFailed("timeout", message) from None
            return latest

    async def _read(self) -> Found | None:
        """What the document holds that is shown; None when another one came in its place."""
        tab, request = self._tab, self._request
        self.stage = f"reach {request.wait_until!r}"
        await tab.reach(request.wait_until)
        if tab.unreachable is not None:
            self.stage = "answer"
            # Only a navigation of our own is told the reason, or it is there after all.
            await self._navigate(tab.unreachable)
            return None
        if request.wait_for is not None:
            self.stage = f"show {request.wait_for!r}"
            await self._find(request.wait_for)
        self.stage = "be read"
        document = tab.document
        try:
            reply = await tab.evaluate(read_expression(request, settle=True), await_promise=True)
        except CdpError as error:
            if not _replaced(error):
                raise
            return None
        if tab.document != document:
            return None
        found = _found(reply)
        if not found["url"].startswith(("http://", "https://")):
            if tab.moving:
                return None
            raise LoadFailed("not_allowed", f"the page leads to {found['url'][:200]}, which is no web address")
        if tab.cut_short and found["blank"]:
            await self._explain_blank(found)
        return found

    async def _explain_blank(self, found: Found) -> None:
        """Nothing of a document arrived before its loading ended. Raises LoadFailed when the network was the reason."""
        await self._tab.call("Log.enable")
        error = self._tab.network_errors.get(found["url"].partition("#")[0])
        if error is not None:
            raise LoadFailed("unreachable", error, status=found["status"], url=found["url"])

    async def _find(self, selector: str) -> None:
        """Wait for an element. Looks again twenty times a second: an observer would end with each new document."""
        while True:
            try:
                reply = await self._tab.evaluate(find_expression(selector))
            except CdpError as error:
                if not _replaced(error):
                    raise
            else:
                if "exceptionDetails" in reply:
                    raise LoadFailed("bad_selector", f"{selector!r} is not a CSS selector")
                if reply["result"].get("value"):
                    return
            await asyncio.sleep(SELECTOR_PAUSE_SECONDS)

    async def _source(self, found: Found) -> Found:
        """What was sent, of a document that Chromium shows in a viewer. It is requested again where the viewer has less
        than that; what the viewer has is the result where the second answer is another one.
        """
        request, source = self._request, found["source"]
        if found["isPoor"] and {"html", "text", "flat"} & set(request.formats):
            again = await self._raw(found["url"])
            if again is not None and again.status == found["status"] and again.mime_type not in PAGES:
                source = again.text
                found = {**found, "type": again.mime_type or found["type"]}
        if len(source) > MAX_HTML_CHARS:
            raise LoadFailed("too_large", f"the page has more than {MAX_HTML_CHARS} characters", status=found["status"])
        return {
            **found,
            "html": source if "html" in request.formats else None,
            "text": source[: request.max_chars] if "text" in request.formats else None,
            "links": [] if "links" in request.formats else None,
            "flat": source if "flat" in request.formats else None,
        }

    async def _file(self, failed: LoadFailed) -> Found:
        """What an address holds that Chromium takes for a file, where that is text for which it has no viewer. Raises
        LoadFailed.
        """
        answer = await self._raw(failed.url or self._request.url, only_text=True)
        if answer is None:
            raise failed
        if not answer.is_shown_text or "screenshot" in self._request.formats:
            raise LoadFailed(
                "download", f"{failed.message}: it is {answer.content_type or 'of no type'}", url=failed.url
            )
        source = {"source": answer.text, "isPoor": False}
        return {"url": answer.url, "status": answer.status, "title": "", "type": answer.mime_type, **source}

    async def _raw(self, url: str, *, only_text: bool = False) -> Answer | None:
        """The answer to `url` as it is sent, or None. The tab shows no other page afterwards."""
        timeout = self._left() + 1
        try:
            return await read_raw(self._tab, url, max_bytes=MAX_HTML_CHARS + 1, timeout=timeout, only_text=only_text)
        except (NoAnswer, CdpError):
            return None

    def _left(self) -> float:
        return max(0.0, self._until - time.monotonic())

    def _took(self) -> int:
        return round((time.monotonic() - self._started) * 1000)


def _found(reply: Params) -> Found:
    if "exceptionDetails" in reply:
        raise LoadFailed("crashed", "the page could not be read")
    found: Found = reply["result"]["value"]
    if found.get("tooLarge"):
        raise LoadFailed("too_large", f"the page has {found['tooLarge']} characters", status=found["status"])
    return found


def _joined(found: Found, *, max_chars: int) -> Found:
    """The parts that the reader found, in one."""
    joined: Found = {}
    if found.get("text") is not None:
        joined["text"] = "\n".join(part.strip("\n") for part in found["text"] if part.strip())[:max_chars]
    if found.get("links") is not None:
        joined["links"] = list(dict.fromkeys(found["links"]))
    if found.get("flat") is not None:
        joined["flat"] = "".join(found["flat"])
    return joined


def _replaced(error: CdpError) -> bool:
    return any(words in str(error) for words in REPLACED)
