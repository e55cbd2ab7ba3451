"""Shows one browser to all of its viewers, over one CDP connection of its own.

Made when the first viewer comes, gone with the last. Its sessions are like those of any client to the browser's
identity: they are announced to the emulator when they begin and when they have ended. New pages attach together with
the emulator's own session, which then comes last.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress

from runner.browser import Browser
from runner.cdp import CdpConnection, CdpError, Params
from runner.chromium import ChromiumError
from runner.live.front_page import Page, Pages
from runner.live.input_commands import Size
from runner.live.input_queue import Aim, Hands
from runner.live.messages import Mode, say
from runner.live.screencast import Cast, Frame
from runner.live.viewer import ENDED, FAILED, LATER, Viewer

log = logging.getLogger("browsa.runner.live")

MAX_VIEWERS = 16  # of each link: those who may only watch must not keep out who may steer
BEAT_SECONDS = 10.0
ASK_SECONDS = 1.0  # between questions for titles and addresses
END_SECONDS = 2.0  # between a hang-up of Chromium and the news that its lease is over
GOODBYE_SECONDS = 1.0
ONLY_PAGES = [{"type": "page"}, {"exclude": True}]
ATTACH: Params = {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": True, "filter": ONLY_PAGES}


class Hub:
    """`over` is done, with the reason, when the lease ends; `on_done` is called when nobody else should join."""

    def __init__(
        self,
        browser: Browser,
        over: asyncio.Future[str],
        *,
        on_done: Callable[[Hub], None],
        spawn: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        self._browser = browser
        self._over = over
        self._on_done = on_done
        self._spawn = spawn
        self._viewers: set[Viewer] = set()
        self._cdp: CdpConnection | None = None
        self._pages = Pages()
        self._casts: dict[str, Cast] = {}
        self._front: Page | None = None
        self._frame: Frame | None = None
        self._told = ""  # the page's state, as the viewers know it
        self._hands = Hands(self._aim)
        over.add_done_callback(self._ended)
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(work, name="live") for work in (self._serve(), self._beat(), self._hands.work())
        ]

    def join(self, mode: Mode, transport: asyncio.Transport, early: bytes) -> None:
        """Show the browser to whoever is behind `transport`."""
        viewer = Viewer(mode, self._hands.take, self._gone)
        crowded = sum(other.mode == mode for other in self._viewers) >= MAX_VIEWERS
        self._viewers.add(viewer)
        if not crowded:
            viewer.say(self._state("hello", mode=mode))
            if self._frame is not None:
                viewer.draw(self._frame.jpeg)
        viewer.take_over(transport, early)
        if crowded:
            viewer.leave(LATER, "too many are watching this browser")

    def _gone(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)
        if not self._viewers:
            self._close()

    def _close(self) -> None:
        self._over.remove_done_callback(self._ended)
        self._on_done(self)
        for task in self._tasks:
            task.cancel()

    def _ended(self, over: asyncio.Future[str]) -> None:
        for viewer in list(self._viewers):
            viewer.leave(ENDED, "the session has ended", last=say("ended", reason=over.result()))

    async def _serve(self) -> None:
        try:
            await self._watch()
        except (CdpError, ChromiumError, OSError) as error:
            log.debug("a live view lost its browser: %s", error)
        finally:
            await self._hang_up()
        self._on_done(self)
        await asyncio.wait([self._over], timeout=END_SECONDS)  # most likely the browser is gone
        for viewer in list(self._viewers):
            viewer.leave(FAILED, "the browser does not answer")

    async def _watch(self) -> None:
        """Follow the browser's pages until its connection ends. Raises CdpError or ChromiumError."""
        self._cdp = cdp = await self._browser.chromium.connect(self._on_event)
        await cdp.call("Target.setDiscoverTargets", {"discover": True, "filter": ONLY_PAGES})
        await cdp.call("Target.setAutoAttach", ATTACH)
        await self._browser.sessions_began(self._pages.targets)
        while not cdp.closed:
            # Chromium tells of a navigation, but not of a title or an address that a script has set.
            for info in (await cdp.call("Target.getTargets", {"filter": ONLY_PAGES}))["targetInfos"]:
                self._pages.told(info["targetId"], title=info["title"], url=info["url"])
            self._tell()
            await asyncio.sleep(ASK_SECONDS)

    async def _hang_up(self) -> None:
        for cast in self._casts.values():
            cast.close()
        if self._cdp is None:
            return
        targets = self._pages.targets
        if not self._cdp.closed:
            # A goodbye is answered, so the identity can be set again at once; a hang-up is noticed some time later.
            with suppress(CdpError):
                await self._cdp.call("Target.setAutoAttach", {**ATTACH, "autoAttach": False}, timeout=GOODBYE_SECONDS)
                await self._browser.sessions_ended(targets)
        await self._cdp.close()
        self._spawn(self._browser.connection_ended(targets))

    def _on_event(self, method: str, params: Params, session: str | None) -> None:
        match method:
            case "Target.attachedToTarget":
                self._attached(params["sessionId"], params["targetInfo"])
            case "Target.detachedFromTarget":
                self._pages.closed(params["sessionId"])
                if (cast := self._casts.pop(params["sessionId"], None)) is not None:
                    cast.close()
            case "Target.targetInfoChanged":
                info = params["targetInfo"]
                self._pages.told(info["targetId"], title=info["title"], url=info["url"])
            case "Page.screencastVisibilityChanged" if session is not None:
                self._pages.showed(session, params["visible"])
            case "Page.screencastFrame" if session in self._casts:
                self._casts[session].frame(params)
                return
        self._look()

    def _attached(self, session: str, info: Params) -> None:
        assert self._cdp is not None
        if info["type"] == "page" and session not in self._casts:
            self._pages.opened(session, info["targetId"], title=info["title"], url=info["url"])
            self._casts[session] = Cast(self._cdp, session, self._draw)

    def _look(self) -> None:
        """Follow the page in front, and tell the viewers what is new of it."""
        front, before = self._pages.front, self._front
        self._front = front
        if before is not front:
            self._frame = None
            if before is not None and before.session in self._casts:
                self._casts[before.session].front = False
            if front is not None:
                self._casts[front.session].come_to_front()
        self._tell()

    def _tell(self) -> None:
        state = self._state("page")
        if state != self._told:
            self._told = state
            for viewer in self._viewers:
                viewer.show(state)

    def _state(self, kind: str, **fields: object) -> str:
        size = self._frame.size if self._frame is not None else Size(0, 0)
        title, url = (self._front.title, self._front.url) if self._front is not None else ("", "")
        return say(kind, **fields, title=title, url=url, width=size.width, height=size.height)

    def _draw(self, frame: Frame) -> None:
        self._frame = frame
        self._tell()  # its size may be another
        for viewer in self._viewers:
            viewer.draw(frame.jpeg)

    def _aim(self) -> Aim | None:
        if self._cdp is None or self._front is None or self._frame is None:
            return None
        return Aim(self._cdp, self._front, self._frame.size)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            for viewer in list(self._viewers):
                viewer.beat()
