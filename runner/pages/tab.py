"""One page in a browser context of its own: what it has told us so far, and commands to it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, get_args

from fingerprints.families import Screen
from runner.cdp import CdpClosed, CdpConnection, CdpError, Params
from runner.identity.emulation import SHELL_SCREEN, Command, Identity, page_commands
from runner.wire import WaitUntil

# What tells that the document has reached a state. Lifecycle events tell of all of them, and of much that nobody asked
# for: they are switched on only for the one that nothing else tells of.
EVENTS: dict[str, WaitUntil] = {"Page.loadEventFired": "load", "Page.domContentEventFired": "domcontentloaded"}
LIFECYCLE: dict[str, WaitUntil] = {"networkIdle": "networkidle"}
SAME_DOCUMENT = frozenset({"sameDocument", "historySameDocument"})
WORLD = {"worldName": "browsa"}
NET_ERROR = re.compile(r"net::ERR_\w+")

# A refresh that comes no later is a redirect, also for Chromium: it replaces the entry in the history.
REDIRECT_SECONDS = 1.0
# A navigation that a page has asked for begins at once, or in REDIRECT_SECONDS. One that hasn't begun after so long was
# refused without an event. `frameClearedScheduledNavigation` means that it was cancelled, or that it begins right now.
BEGIN_SECONDS = 5.0
CLEARED_SECONDS = 1.0

Pause = Callable[[Params], Coroutine[Any, Any, None]]
"""Called with the params of a `Fetch.requestPaused`."""


MAX_DOCUMENTS = 21  # the first one and as many more as Chromium follows redirects


class TabGone(Exception):
    """The page's renderer, or the whole shell, died."""


class NoEnd(Exception):
    """The page has led from one document to the next too often."""


class Tab:
    """A context with one blank page, made ready ahead of time or on the spot; used for one page, then disposed of."""

    def __init__(
        self, cdp: CdpConnection, *, context: str, target: str, session: str, native: Iterable[Command] = ()
    ) -> None:
        """`native`: what its shell is without being told."""
        self.context = context
        self.frame = target  # a page's main frame has its target's id
        self.session = session
        self.identity: Identity | None = None
        self.country = ""
        self.egress: asyncio.Server | None = None  # for this tab alone
        self._screen = SHELL_SCREEN
        self._is = {command.method: command.params for command in native}
        self.download: str | None = None  # the file's name, once one was offered
        self.unreachable: str | None = None  # the address whose error page is shown
        self.cut_short = False  # loading has stopped before the document was complete
        self.network_errors: dict[str, str] = {}  # by address; told after `Log.enable`
        self.inner: list[Params] = []  # frames in processes of their own; told after `Target.setAutoAttach`
        self.on_pause: Pause | None = None
        self._cdp = cdp
        self._loader = ""
        self._world: tuple[str, asyncio.Future[Params]] | None = None  # with its document
        self._shown = {""}  # every document so far
        self._sent_to = ""
        self._asked_until: float | None = None  # the page wants to go elsewhere, and must begin until then
        self._navigating = False  # it has begun
        self._reached: set[WaitUntil] = set()
        self._gone = False
        self._changed = asyncio.Event()
        self._answers: set[asyncio.Task[Any]] = set()

    async def call(
        self, method: str, params: Params | None = None, *, timeout: float = 30.0, session: str | None = None
    ) -> Params:
        """A command to the page, or to a frame's `session`. Raises TabGone, or CdpError when Chromium refuses."""
        with self._alive():
            return await self._cdp.call(method, params, session=session or self.session, timeout=timeout)

    @contextmanager
    def _alive(self) -> Iterator[None]:
        if self._gone:
            raise TabGone
        try:
            yield
        except CdpError as error:
            if self._gone or isinstance(error, CdpClosed):
                raise TabGone from error
            raise

    async def open_world(self, document: str) -> None:
        """Ask for our own script world in `document`, without waiting for it. Raises TabGone and CdpError."""
        with self._alive():
            params = {"frameId": self.frame, **WORLD}
            world = await self._cdp.post("Page.createIsolatedWorld", params, session=self.session)
            self._world = document, world

    async def evaluate(self, expression: str, *, await_promise: bool = False) -> Params:
        """The answer of `Runtime.evaluate` in our own world of the document that is shown. Raises TabGone, CdpError."""
        if self._world is None or self._world[0] != self._loader:
            await self.open_world(self._loader)
        assert self._world is not None
        with self._alive():
            context = (await self._world[1])["executionContextId"]
        script = {"expression": expression, "contextId": context, "returnByValue": True, "awaitPromise": await_promise}
        return await self.call("Runtime.evaluate", script, timeout=120)

    async def prepare(self) -> None:
        """Switch on the events that `on_event` reads. Raises CdpError."""
        await self._cdp.post("Page.enable", session=self.session)

    async def watch_network(self) -> None:
        """From now on `reach` also knows of "networkidle". Raises TabGone and CdpError.

        With the answer: a command that meets a navigation is given to the new document too, and then Chromium makes up
        for the events that it takes to be past, idleness among them.
        """
        await self.call("Page.setLifecycleEventsEnabled", {"enabled": True})

    async def become(self, identity: Identity) -> None:
        """Take on an identity; only what the tab is not yet is sent. Raises CdpError."""
        if identity == self.identity:
            return
        new = [command for command in page_commands(identity) if self._is.get(command.method) != command.params]
        replies = [await self._cdp.post(command.method, command.params, session=self.session) for command in new]
        if identity.family.screen != self._screen:
            replies += await self._resize(identity.family.screen)
        await asyncio.gather(*replies)
        self._is |= dict(new)
        self.identity = identity

    async def _resize(self, screen: Screen) -> list[asyncio.Future[Params]]:
        """The window too: one that is smaller than its page is nobody's."""
        window = (await self.call("Browser.getWindowForTarget"))["windowId"]
        size = screen.viewport._asdict()
        metrics = {**size, "deviceScaleFactor": 1, "mobile": False}
        metrics |= {"screenWidth": screen.width, "screenHeight": screen.height}
        self._screen = screen
        return [
            await self._cdp.post("Browser.setWindowBounds", {"windowId": window, "bounds": size}, session=self.session),
            await self._cdp.post("Emulation.setDeviceMetricsOverride", metrics, session=self.session),
        ]

    def on_event(self, method: str, params: Params) -> None:
        """Called with every event of this page's session."""
        if method.startswith("Page.frame"):
            if params.get("frameId", params.get("frame", {}).get("id")) == self.frame:
                self._on_navigation(method, params)
        elif method in EVENTS:
            self._reached.add(EVENTS[method])
        elif method == "Page.lifecycleEvent" and params["loaderId"] == self._loader and params["name"] in LIFECYCLE:
            self._reached.add(LIFECYCLE[params["name"]])
        elif method == "Page.navigatedWithinDocument" and params["frameId"] == self.frame:
            self._asked_until = None
        elif method == "Page.downloadWillBegin" and params["frameId"] == self.frame:
            self.download = params["suggestedFilename"]
            self._asked_until, self._navigating = None, False
        elif method == "Page.javascriptDialogOpening":
            self._answer("Page.handleJavaScriptDialog", {"accept": False})
        elif method == "Fetch.requestPaused":
            self._on_pause(params)
        elif method == "Log.entryAdded" and (found := NET_ERROR.search(params["entry"]["text"])):
            self.network_errors[params["entry"].get("url", "")] = found[0]
        elif method == "Target.attachedToTarget":
            self.inner.append(params)
        elif method == "Inspector.targetCrashed" or (
            method == "Target.detachedFromTarget" and params["sessionId"] == self.session
        ):
            self.lost()
        self._changed.set()

    def _on_navigation(self, method: str, params: Params) -> None:
        """What happens to the main frame, in this order: a navigation is scheduled or requested by the page, starts in
        the browser, and ends with another document or, when there is none (a 204, a download, an address for another
        program), with `frameStoppedLoading`.
        """
        now = time.monotonic()
        match method.removeprefix("Page.frame"):
            case "Navigated":
                frame = params["frame"]
                self._loader = frame["loaderId"]
                self._shown.add(self._loader)
                self.unreachable = frame.get("unreachableUrl")
                self._asked_until, self._navigating, self.cut_short = None, False, False
                self._reached = set()
            case "ScheduledNavigation" | "RequestedNavigation" if _leads_away(params):
                self._asked_until = now + BEGIN_SECONDS
            case "ClearedScheduledNavigation" if self._asked_until is not None:
                self._asked_until = min(self._asked_until, now + CLEARED_SECONDS)
            case "StartedNavigating" if params["navigationType"] not in SAME_DOCUMENT:
                self._asked_until, self._navigating = None, True
            case "StoppedLoading":
                self._navigating = False
                if "load" not in self._reached:  # and it will never be: what is there is all there will be
                    self.cut_short = True
                    self._reached = set(get_args(WaitUntil))

    def _on_pause(self, params: Params) -> None:
        """Only what the caller wants blocked is paused, or what is read raw."""
        if self.on_pause is None:
            self._answer("Fetch.failRequest", {"requestId": params["requestId"], "errorReason": "BlockedByClient"})
        else:
            self._keep(asyncio.get_running_loop().create_task(self.on_pause(params)))

    def lost(self) -> None:
        """The page or its shell died: whoever waits is told."""
        if self.egress is not None:
            self.egress.close()
        self._gone = True
        self._changed.set()

    @property
    def document(self) -> str:
        """Names the document that the tab shows: another one has another name."""
        return self._loader

    def sent_to(self, document: str) -> None:
        """It is on its way to `document`: what the blank page before it still has to say means nothing."""
        self._sent_to = document

    @property
    def moving(self) -> bool:
        """Whether another document is to take the place of the one that is shown."""
        return self._asked_until is not None or self._navigating

    async def reach(self, state: WaitUntil) -> None:
        """Wait until the document that the tab ends up with reaches `state`. Raises TabGone and NoEnd."""
        while not self._gone:
            if len(self._shown) - 1 > MAX_DOCUMENTS:
                raise NoEnd
            there = self._sent_to in self._shown and state in self._reached and not self._navigating
            if there and self._asked_until is None:
                return
            self._changed.clear()
            try:
                # time.monotonic() is also the event loop's clock.
                async with asyncio.timeout_at(self._asked_until if there else None):
                    await self._changed.wait()
            except TimeoutError:
                self._asked_until = None
        raise TabGone

    def _answer(self, method: str, params: Params) -> None:
        """React to an event; a page that goes away meanwhile needs no reaction."""
        self._keep(asyncio.get_running_loop().create_task(self._cdp.post(method, params, session=self.session)))

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._answers.add(task)
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[Any]) -> None:
        self._answers.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, CdpError):
            raise error


def _leads_away(params: Params) -> bool:
    """Whether a navigation that the page asks for comes soon, in its own tab. A `javascript:` address is only run."""
    soon = params.get("delay", 0) <= REDIRECT_SECONDS and params.get("disposition", "currentTab") == "currentTab"
    return soon and not params["url"].startswith("javascript:")
