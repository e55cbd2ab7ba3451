"""One page in a browser context of its own: what it has told us so far, and commands to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from runner.cdp import CdpClosed, CdpConnection, CdpError, Params
from runner.identity.emulation import SHELL_SCREEN, Command, Identity, Screen, target_commands
from runner.wire import WaitUntil

# What tells that the document has reached a state. Lifecycle events tell of all of them, and of much that nobody asked
# for: they are switched on only for the one that nothing else tells of.
EVENTS: dict[str, WaitUntil] = {"Page.loadEventFired": "load", "Page.domContentEventFired": "domcontentloaded"}
LIFECYCLE: dict[str, WaitUntil] = {"networkIdle": "networkidle"}
SAME_DOCUMENT = frozenset({"sameDocument", "historySameDocument"})


class TabGone(Exception):
    """The page's renderer, or the whole shell, died."""


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
        self._screen = SHELL_SCREEN
        self._is = {command.method: command.params for command in native}
        self.download: str | None = None  # the file's name, once one was offered
        self._cdp = cdp
        self._loader = ""
        self._shown = {""}  # every document so far
        self._sent_to = ""
        self._navigating = False
        self._reached: set[WaitUntil] = set()
        self._gone = False
        self._changed = asyncio.Event()
        self._answers: set[asyncio.Task[asyncio.Future[Params]]] = set()

    async def call(self, method: str, params: Params | None = None, *, timeout: float = 30.0) -> Params:
        """A command to the page. Raises TabGone, or CdpError when Chromium refuses."""
        if self._gone:
            raise TabGone
        try:
            return await self._cdp.call(method, params, session=self.session, timeout=timeout)
        except CdpError as error:
            if self._gone or isinstance(error, CdpClosed):
                raise TabGone from error
            raise

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
        new = [
            command for command in target_commands(identity, "page") if self._is.get(command.method) != command.params
        ]
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
        if method == "Page.frameNavigated" and params["frame"]["id"] == self.frame:
            self._loader = params["frame"]["loaderId"]
            self._shown.add(self._loader)
            self._reached = set()
            self._navigating = False
        elif method in EVENTS:
            self._reached.add(EVENTS[method])
        elif method == "Page.lifecycleEvent" and params["loaderId"] == self._loader and params["name"] in LIFECYCLE:
            self._reached.add(LIFECYCLE[params["name"]])
        elif method == "Page.frameStartedNavigating" and params["frameId"] == self.frame:
            self._navigating = params["navigationType"] not in SAME_DOCUMENT or self._navigating
        elif method == "Page.frameStoppedLoading" and params["frameId"] == self.frame:
            self._navigating = False
        elif method == "Page.downloadWillBegin":
            self.download = params["suggestedFilename"]
            self._navigating = False
        elif method == "Page.javascriptDialogOpening":
            self._answer("Page.handleJavaScriptDialog", {"accept": False})
        elif method == "Fetch.requestPaused":  # only what the caller wants blocked is paused
            self._answer("Fetch.failRequest", {"requestId": params["requestId"], "errorReason": "BlockedByClient"})
        elif method in ("Inspector.targetCrashed", "Target.detachedFromTarget"):
            self.lost()
        self._changed.set()

    def lost(self) -> None:
        """The page or its shell died: whoever waits is told."""
        self._gone = True
        self._changed.set()

    @property
    def document(self) -> str:
        """Names the document that the tab shows: another one has another name."""
        return self._loader

    def sent_to(self, document: str) -> None:
        """It is on its way to `document`: what the blank page before it still has to say means nothing."""
        self._sent_to = document

    async def reach(self, state: WaitUntil) -> None:
        """Wait until the document that the tab ends up with reaches `state`. Raises TabGone."""
        while not self._gone:
            if self._sent_to in self._shown and state in self._reached and not self._navigating:
                return
            self._changed.clear()
            await self._changed.wait()
        raise TabGone

    def _answer(self, method: str, params: Params) -> None:
        """React to an event; a page that goes away meanwhile needs no reaction."""
        task = asyncio.get_running_loop().create_task(self._cdp.post(method, params, session=self.session))
        self._answers.add(task)
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[asyncio.Future[Params]]) -> None:
        self._answers.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, CdpError):
            raise error
