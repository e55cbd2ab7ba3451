"""Live views: a hub shows one browser to all of its viewers, over one separate CDP connection.

A hub exists from the first viewer to the last. Its CDP sessions affect the browser's identity like those of a client,
so it reports to the browser when they begin and end. In new pages its session attaches together with the emulator's,
which then attaches again to be the newest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress

from runner.browser import Browser
from runner.cdp import CdpConnection, CdpError, Params
from runner.chromium import ChromiumError
from runner.leases import LiveAccess
from runner.live.input_commands import PageSize
from runner.live.input_queue import InputQueue, InputTarget
from runner.live.messages import Mode, encode_message
from runner.live.open_pages import OpenPage, OpenPages
from runner.live.screencast import Frame, Screencast
from runner.live.viewer import ENDED, FAILED, LATER, Viewer

log = logging.getLogger("browsa.runner.live")

MAX_VIEWERS = 16  # for each mode, so that watching viewers cannot take the places of controlling ones
HEARTBEAT_SECONDS = 10.0
POLL_SECONDS = 1.0  # between requests for titles and URLs
LEASE_END_SECONDS = 2.0  # from the end of the CDP connection to the end of the lease
DETACH_SECONDS = 1.0
ONLY_PAGES = [{"type": "page"}, {"exclude": True}]
ATTACH: Params = {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": True, "filter": ONLY_PAGES}

FindAccess = Callable[[str], LiveAccess | None]


class Hub:
    """`lease_ended` is done, with the reason, when the lease ends. After `on_done` no viewer may join."""

    def __init__(
        self,
        browser: Browser,
        lease_ended: asyncio.Future[str],
        *,
        on_done: Callable[[Hub], None],
        spawn: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        self._browser = browser
        self._lease_ended = lease_ended
        self._on_done = on_done
        self._spawn = spawn
        self._viewers: set[Viewer] = set()
        self._cdp: CdpConnection | None = None
        self._pages = OpenPages()
        self._screencasts: dict[str, Screencast] = {}
        self._active: OpenPage | None = None
        self._frame: Frame | None = None
        self._sent_state = ""  # the page's state, as last sent to the viewers
        self._inputs = InputQueue(self._input_target)
        lease_ended.add_done_callback(self._on_lease_end)
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(work, name="live") for work in (self._serve(), self._heartbeat(), self._inputs.run())
        ]

    def join(self, mode: Mode, transport: asyncio.Transport, early: bytes) -> None:
        """Add a viewer: `transport` is its WebSocket connection, `early` what it has already sent."""
        viewer = Viewer(mode, self._inputs.put, self._remove_viewer)
        full = sum(other.mode == mode for other in self._viewers) >= MAX_VIEWERS
        self._viewers.add(viewer)
        if not full:
            viewer.send(self._state("hello", mode=mode))
            if self._frame is not None:
                viewer.send_frame(self._frame.jpeg)
        viewer.take_over(transport, early)
        if full:
            viewer.close(LATER, "too many viewers of this browser")

    def _remove_viewer(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)
        if self._viewers:
            return
        self._lease_ended.remove_done_callback(self._on_lease_end)
        self._on_done(self)
        for task in self._tasks:
            task.cancel()

    def _on_lease_end(self, lease_ended: asyncio.Future[str]) -> None:
        for viewer in list(self._viewers):
            viewer.close(ENDED, "the session has ended", last=encode_message("ended", reason=lease_ended.result()))

    async def _serve(self) -> None:
        try:
            await self._follow_pages()
        except (CdpError, ChromiumError, OSError) as error:
            log.debug("a live view lost its browser: %s", error)
        finally:
            await self._disconnect()
        self._on_done(self)
        await asyncio.wait([self._lease_ended], timeout=LEASE_END_SECONDS)  # most likely the browser has exited
        for viewer in list(self._viewers):
            viewer.close(FAILED, "the browser does not answer")

    async def _follow_pages(self) -> None:
        """Follow the browser's pages until its connection ends. Raises CdpError or ChromiumError."""
        self._cdp = cdp = await self._browser.chromium.connect(self._on_event)
        await cdp.call("Target.setDiscoverTargets", {"discover": True, "filter": ONLY_PAGES})
        await cdp.call("Target.setAutoAttach", ATTACH)
        await self._browser.sessions_began(self._pages.targets)
        while not cdp.closed:
            # Chromium sends an event for a navigation, but not for a title or a URL that a script has set.
            for info in (await cdp.call("Target.getTargets", {"filter": ONLY_PAGES}))["targetInfos"]:
                self._pages.update(info["targetId"], title=info["title"], url=info["url"])
            self._send_state()
            await asyncio.sleep(POLL_SECONDS)

    async def _disconnect(self) -> None:
        for screencast in self._screencasts.values():
            screencast.close()
        if self._cdp is None:
            return
        targets = self._pages.targets
        if not self._cdp.closed:
            # Chromium answers this command, so the identity can be restored at once; it notices a disconnect later.
            with suppress(CdpError):
                await self._cdp.call("Target.setAutoAttach", {**ATTACH, "autoAttach": False}, timeout=DETACH_SECONDS)
                await self._browser.sessions_ended(targets)
        await self._cdp.close()
        self._spawn(self._browser.connection_ended(targets))

    def _on_event(self, method: str, params: Params, session: str | None) -> None:
        match method:
            case "Target.attachedToTarget":
                assert self._cdp is not None
                session, info = params["sessionId"], params["targetInfo"]
                if info["type"] == "page" and session not in self._screencasts:
                    self._pages.add(session, info["targetId"], title=info["title"], url=info["url"])
                    self._screencasts[session] = Screencast(self._cdp, session, self._on_frame)
            case "Target.detachedFromTarget":
                self._pages.remove(params["sessionId"])
                if (screencast := self._screencasts.pop(params["sessionId"], None)) is not None:
                    screencast.close()
            case "Target.targetInfoChanged":
                info = params["targetInfo"]
                self._pages.update(info["targetId"], title=info["title"], url=info["url"])
            case "Page.screencastVisibilityChanged" if session is not None:
                self._pages.set_visible(session, params["visible"])
            case "Page.screencastFrame" if session in self._screencasts:
                self._screencasts[session].frame(params)
                return
        self._update_active_page()

    def _update_active_page(self) -> None:
        """Show the active page, and send its state to the viewers when it has changed."""
        active, before = self._pages.active, self._active
        self._active = active
        if before is not active:
            self._frame = None
            if before is not None and before.session in self._screencasts:
                self._screencasts[before.session].active = False
            if active is not None:
                self._screencasts[active.session].activate()
        self._send_state()

    def _send_state(self) -> None:
        state = self._state("page")
        if state != self._sent_state:
            self._sent_state = state
            for viewer in self._viewers:
                viewer.send_state(state)

    def _state(self, kind: str, **fields: object) -> str:
        size = self._frame.size if self._frame is not None else PageSize(0, 0)
        title, url = (self._active.title, self._active.url) if self._active is not None else ("", "")
        return encode_message(kind, **fields, title=title, url=url, width=size.width, height=size.height)

    def _on_frame(self, frame: Frame) -> None:
        self._frame = frame
        self._send_state()  # the size may have changed
        for viewer in self._viewers:
            viewer.send_frame(frame.jpeg)

    def _input_target(self) -> InputTarget | None:
        if self._cdp is None or self._active is None or self._frame is None:
            return None
        return InputTarget(self._cdp, self._active, self._frame.size)

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            for viewer in list(self._viewers):
                viewer.heartbeat()


class LiveViews:
    """The live views of a runner. `find` returns what a capability permits.

    The gateway refuses pages of origins that are not in `origins`.
    """

    def __init__(self, find: FindAccess, *, origins: frozenset[str]) -> None:
        self.find = find
        self.origins = origins
        self._hubs: dict[Browser, Hub] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def admit(self, access: LiveAccess, transport: asyncio.Transport, early: bytes) -> None:
        """Serve a viewer after its WebSocket handshake; `early` is what it has already sent."""
        browser = access.browser
        if browser not in self._hubs:
            self._hubs[browser] = Hub(browser, access.ended, on_done=self._forget, spawn=self._spawn)
        self._hubs[browser].join(access.mode, transport, early)

    def _forget(self, done: Hub) -> None:
        for browser, hub in list(self._hubs.items()):
            if hub is done:  # the browser may have a new hub already
                del self._hubs[browser]

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="live-afterwards")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
