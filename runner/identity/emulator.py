"""Keeps one leased browser in its identity: every page, frame and worker gets it before its first script runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine

from runner.cdp import CdpConnection, CdpError, Params
from runner.chromium import Chromium
from runner.identity.emulation import (
    NATIVE_PLATFORM,
    PAGES,
    Command,
    Identity,
    platform_override,
    screen_commands,
    target_commands,
    window_bounds,
)

log = logging.getLogger("browsa.runner.identity")

# Flat sessions for everything that runs script; each waits for us before its first line.
AUTO_ATTACH: Params = {
    "autoAttach": True,
    "waitForDebuggerOnStart": True,
    "flatten": True,
    "filter": [{"type": "browser", "exclude": True}, {"type": "tab", "exclude": True}, {}],
}


class Target:
    """Something in the browser that runs script. `last` is the session that keeps its platform, see `outrank`."""

    def __init__(self, target_id: str, kind: str) -> None:
        self.id = target_id
        self.kind = kind
        self.last: str | None = None
        self.turn = asyncio.Lock()


class Emulator:
    """Our own CDP connection to a browser. It lives as long as the browser: overrides end with their session.

    A warm browser already has the default identity, so that most leases have nothing to send.
    """

    def __init__(self, browser: Chromium, identity: Identity) -> None:
        self._browser = browser
        self._identity = identity
        self._cdp: CdpConnection | None = None
        self._sessions: dict[str, Target] = {}  # by session id
        self._first_page: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._screen_id = ""
        self._window_id = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Give the browser its identity, and keep giving it to all that it opens. Raises CdpError."""
        self._cdp = await self._browser.connect(self._on_event)
        await self._cdp.call("Target.setAutoAttach", AUTO_ATTACH)
        try:
            async with asyncio.timeout(10):
                session = await self._first_page
        except TimeoutError as error:
            raise CdpError("the first page did not attach") from error
        infos = await self._cdp.call("Emulation.getScreenInfos", session=session)
        self._screen_id = infos["screenInfos"][0]["id"]
        window = await self._cdp.call("Browser.getWindowForTarget", {"targetId": self._browser.page_id})
        self._window_id = window["windowId"]
        await self._set_screen(self._cdp, session)

    async def become(self, identity: Identity) -> None:
        """Change a warm browser's identity. What it loads next sees only the new one.

        Raises CdpError when the browser does not answer, also when there is nothing to change.
        """
        assert self._cdp is not None
        if identity == self._identity:
            await self._cdp.call("Browser.getVersion")
            return
        new_screen = identity.family.screen != self._identity.family.screen
        self._identity = identity
        for session, target in list(self._sessions.items()):
            replies = [
                await self._cdp.post(command.method, command.params, session=session)
                for command in target_commands(identity, target.kind)
            ]
            await asyncio.gather(*replies)
            if target.last is not None:
                await self._come_last(target)  # it still has the old platform, and the last word
        if new_screen:
            await self._set_screen(self._cdp, await self._first_page)

    async def navigate(self, url: str) -> None:
        """Send the first page to `url` without waiting for it to load. Raises CdpError."""
        if self._cdp is not None:
            await self._cdp.post("Page.navigate", {"url": url}, session=await self._first_page)

    async def outrank(self, targets: Collection[str] | None = None) -> None:
        """Be restored after every client's sessions. To be called whenever a client has attached or detached.

        Raises CdpError.

        Chromium keeps `navigator.platform` in the renderer. When a navigation gets a new renderer, every session
        restores its overrides there in the order in which the sessions attached, and one that never set a platform
        resets it (`InspectorEmulationAgent::Restore`, seen in 156), as does one that ends. So a session of ours must be
        the newest, and be so again. Of `targets` only, where they are given: whoever is outranked anew has no platform
        for a moment, in which a page's first script may just run.
        """
        await self._settle()
        if self._identity.family.platform == NATIVE_PLATFORM:
            return
        pages = [t for t in self._sessions.values() if t.kind in PAGES and (targets is None or t.id in targets)]
        await asyncio.gather(*(self._come_last(target) for target in pages))

    async def _settle(self) -> None:
        """Wait until every target that the browser has opened so far has its identity. Raises CdpError."""
        assert self._cdp is not None
        await self._cdp.call("Browser.getVersion")  # its answer comes behind the news of those targets
        if adopting := set(self._tasks):
            await asyncio.wait(adopting)

    async def _come_last(self, target: Target) -> None:
        assert self._cdp is not None
        async with target.turn:
            previous = target.last
            try:
                attached = await self._cdp.call("Target.attachToTarget", {"targetId": target.id, "flatten": True})
                target.last = attached["sessionId"]
                # One behind the other: the end of the old session resets what the new one then sets again.
                if previous is not None:
                    await self._cdp.post("Target.detachFromTarget", {"sessionId": previous})
                override = platform_override(self._identity)
                await self._cdp.post(override.method, override.params, session=target.last)
            except CdpError as error:
                log.debug("a %s went away while a client attached to it: %s", target.kind, error)

    async def close(self) -> None:
        if not self._first_page.done():
            self._first_page.cancel()
        if self._cdp is not None:
            await self._cdp.close()

    def _on_event(self, method: str, params: Params, session: str | None) -> None:
        if method == "Target.attachedToTarget":
            info = params["targetInfo"]
            known = next((target for target in self._sessions.values() if target.id == info["targetId"]), None)
            if known is None:
                known = self._sessions[params["sessionId"]] = Target(info["targetId"], info["type"])
            elif not params["waitingForDebugger"]:
                return  # one of our own second sessions
            # A service worker attaches to the browser and to its page, and runs when both sessions let it.
            self._spawn(self._adopt(params["sessionId"], known))
        elif method == "Target.detachedFromTarget":
            self._sessions.pop(params["sessionId"], None)

    async def _adopt(self, session: str, target: Target) -> None:
        """Give a new target its identity and let it run. The commands go out together: it costs one round trip."""
        assert self._cdp is not None
        commands = [
            *target_commands(self._identity, target.kind),
            Command("Target.setAutoAttach", AUTO_ATTACH),
            Command("Runtime.runIfWaitingForDebugger", {}),
        ]
        if target.kind in PAGES and self._identity.family.platform != NATIVE_PLATFORM:
            # Clients that attach to new pages by themselves have done so together with us; now outrank them, while the
            # page still waits.
            await self._come_last(target)
        try:
            replies = [await self._cdp.post(c.method, c.params, session=session) for c in commands]
        except CdpError as error:
            log.debug("a %s went away before it had its identity: %s", target.kind, error)
            return
        for command, reply in zip(commands, await asyncio.gather(*replies, return_exceptions=True), strict=True):
            if isinstance(reply, CdpError) and not self._browser.gone.done():
                log.debug("%s of a new %s: %s", command.method, target.kind, reply)
        if target.id == self._browser.page_id and not self._first_page.done():
            self._first_page.set_result(session)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="emulator")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _set_screen(self, cdp: CdpConnection, session: str) -> None:
        for command in screen_commands(self._identity, self._screen_id):
            await cdp.call(command.method, command.params, session=session)
        bounds = {"windowId": self._window_id, "bounds": window_bounds(self._identity)}
        await cdp.call("Browser.setWindowBounds", bounds)
