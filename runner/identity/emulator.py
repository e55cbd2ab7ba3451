"""Keeps one leased browser in its identity: every page, frame and worker gets it before its first script runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine, Sequence
from typing import NamedTuple

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


# One that does not answer must not keep the others from running for ever.
SIBLINGS_SECONDS = 2.0


class SentCommand(NamedTuple):
    """A command that was sent, and its reply to come."""

    method: str
    reply: asyncio.Future[Params]


class Target:
    """A CDP target that runs script. `newest_session` is our session that keeps its platform, see `attach_newest`.

    `has_renderer`: it has a renderer, which is its opener's while it has no URL. A page that a link opened in a new
    window without an opener has no renderer before it runs.
    """

    def __init__(self, target_id: str, kind: str, *, has_renderer: bool) -> None:
        self.id = target_id
        self.kind = kind
        self.has_renderer = has_renderer
        self.newest_session: str | None = None
        self.older_sessions: list[str] = []  # sessions that were `newest_session` before
        self.lock = asyncio.Lock()
        self.ready = asyncio.get_running_loop().create_future()  # done once it has its identity, or never will


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
        self._tasks: dict[asyncio.Task[None], Target] = {}  # what is being done to give a target its identity

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

    async def set_identity(self, identity: Identity) -> None:
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
            if target.newest_session is not None:
                await self._reapply_platform_to(target)  # it still has the old platform, and the last word
        if new_screen:
            await self._set_screen(self._cdp, await self._first_page)

    async def navigate(self, url: str) -> None:
        """Send the first page to `url` without waiting for it to load. Raises CdpError."""
        if self._cdp is not None:
            await self._cdp.post("Page.navigate", {"url": url}, session=await self._first_page)

    async def attach_newest(self, older: Collection[str] | None = None, newer: Collection[str] = ()) -> None:
        """Be restored after every client's sessions. To be called whenever a client has attached. Raises CdpError.

        Chromium keeps `navigator.platform` in the renderer. When a navigation gets a new renderer, every session
        restores its overrides there in the order in which the sessions attached, and one that never set a platform
        resets it (`InspectorEmulationAgent::Restore`, seen in 156), as does one that ends. So a session of ours must be
        the newest, and be so again: of the `older` targets, which ran when the client attached. The `newer` ones still
        waited then, and are only waited for. With None for `older`, all that the browser has opened is meant.
        """
        assert self._cdp is not None
        await self._cdp.call("Browser.getVersion")  # its answer comes behind the news of those targets
        if self._identity.family.platform != NATIVE_PLATFORM:
            for target in self._pages(older):
                self._spawn(self._attach_newest_to(target), target)
        # Nobody else's targets: one with a busy renderer answers late. And whoever gives up waiting must not stop the
        # work, which would leave a session without a platform as the newest.
        work = [task for task, target in self._tasks.items() if older is None or target.id in {*older, *newer}]
        if work:
            await asyncio.wait(work)

    async def reapply_platform(self, left: Collection[str] = ()) -> None:
        """Set the platform again. To be called whenever a client's session has ended, which resets it there.

        Targets that do have it don't notice. Those that a client has `left` are without it at this moment, so that
        the sessions which held it there before the last one can end, too.
        """
        if self._identity.family.platform == NATIVE_PLATFORM:
            return
        for target in self._pages(None):
            await self._reapply_platform_to(target, detach_older=target.id in left)

    def _pages(self, targets: Collection[str] | None) -> list[Target]:
        return [t for t in self._sessions.values() if t.kind in PAGES and (targets is None or t.id in targets)]

    async def _attach_newest_to(self, target: Target) -> None:
        """Attach once more. What was last until now stays: its end would reset what a page may just read."""
        assert self._cdp is not None
        async with target.lock:
            try:
                # Without a time limit: a late answer is still the newest session, and needs the platform.
                attached = await (
                    await self._cdp.post("Target.attachToTarget", {"targetId": target.id, "flatten": True})
                )
                if target.newest_session is not None:
                    target.older_sessions.append(target.newest_session)
                target.newest_session = attached["sessionId"]
                override = platform_override(self._identity)
                await self._cdp.post(override.method, override.params, session=target.newest_session)
            except CdpError as error:
                log.debug("a %s went away while a client attached to it: %s", target.kind, error)

    async def _reapply_platform_to(self, target: Target, *, detach_older: bool = False) -> None:
        assert self._cdp is not None
        async with target.lock:
            while detach_older and target.older_sessions:
                await self._cdp.post("Target.detachFromTarget", {"sessionId": target.older_sessions.pop()})
            if target.newest_session is not None:
                override = platform_override(self._identity)
                await self._cdp.post(override.method, override.params, session=target.newest_session)

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
                has_renderer = bool(info["url"]) or info["canAccessOpener"]
                known = Target(info["targetId"], info["type"], has_renderer=has_renderer)
                self._sessions[params["sessionId"]] = known
            elif not params["waitingForDebugger"]:
                return  # one of our own second sessions
            # A service worker attaches to the browser and to its page, and runs when both sessions let it.
            self._spawn(self._set_up(params["sessionId"], known), known)
        elif method == "Target.detachedFromTarget":
            self._sessions.pop(params["sessionId"], None)

    async def _set_up(self, session: str, target: Target) -> None:
        """Give a new target its identity and let it run. The commands go out together: it costs one round trip.

        They go out before anything else. A client that lets another page run may also let this one run (see
        `_wait_for_siblings`); its first answer from the network still comes through our egress, after these commands.
        """
        assert self._cdp is not None
        release = Command("Runtime.runIfWaitingForDebugger", {})
        try:
            sent = await self._send_all(
                session, [*target_commands(self._identity, target.kind), Command("Target.setAutoAttach", AUTO_ATTACH)]
            )
            if target.kind in PAGES:
                if self._identity.family.platform != NATIVE_PLATFORM:
                    # Clients that attach to new pages by themselves have done so together with us; now outrank them,
                    # while the page still waits.
                    await self._attach_newest_to(target)
                if target.has_renderer:
                    await self._wait_for_replies(target, sent)
                    sent = []
                    self._mark_ready(target)
                    await self._wait_for_siblings(target)
            sent += await self._send_all(session, [release])
            # A service worker starts when all of its sessions let it, and answers nothing before. A client's may be
            # waiting for us. What a page without a renderer is sent before it is let run is there before its first
            # script.
            if target.kind != "service_worker" and target.has_renderer:
                await self._wait_for_replies(target, sent)
        except CdpError as error:
            log.debug("a %s went away before it had its identity: %s", target.kind, error)
            return
        finally:
            self._mark_ready(target)
        if target.id == self._browser.page_id and not self._first_page.done():
            self._first_page.set_result(session)

    async def _send_all(self, session: str, commands: Sequence[Command]) -> list[SentCommand]:
        """Send commands together. Raises CdpError when the browser is gone."""
        assert self._cdp is not None
        return [SentCommand(c.method, await self._cdp.post(c.method, c.params, session=session)) for c in commands]

    async def _wait_for_replies(self, target: Target, sent: Sequence[SentCommand]) -> None:
        replies = await asyncio.gather(*(command.reply for command in sent), return_exceptions=True)
        for command, reply in zip(sent, replies, strict=True):
            if isinstance(reply, CdpError) and not self._browser.gone.done():
                log.debug("%s of a new %s: %s", command.method, target.kind, reply)

    async def _wait_for_siblings(self, target: Target) -> None:
        """Wait until pages that were opened together with this one have their identity too.

        Pages of one renderer wait in one loop: who lets one of them run lets all of them run, also those that begin to
        wait just then.
        """
        others = [other.ready for other in self._sessions.values() if other is not target and not other.ready.done()]
        if others:
            await asyncio.wait(others, timeout=SIBLINGS_SECONDS)

    def _mark_ready(self, target: Target) -> None:
        if not target.ready.done():
            target.ready.set_result(None)

    def _spawn(self, work: Coroutine[None, None, None], target: Target) -> None:
        task = asyncio.get_running_loop().create_task(work, name="emulator")
        self._tasks[task] = target
        task.add_done_callback(self._tasks.pop)

    async def _set_screen(self, cdp: CdpConnection, session: str) -> None:
        for command in screen_commands(self._identity, self._screen_id):
            await cdp.call(command.method, command.params, session=session)
        bounds = {"windowId": self._window_id, "bounds": window_bounds(self._identity)}
        await cdp.call("Browser.setWindowBounds", bounds)
