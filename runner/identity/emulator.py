"""Set a browser's identity in every page, frame and worker, before its first script runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine, Sequence
from typing import Any, NamedTuple

from runner import dialogs
from runner.cdp import CdpConnection, CdpError, Params
from runner.chromium import Chromium
from runner.dialogs import Dialogs
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
from runner.identity.measure import MachineValues, measure
from runner.identity.measuring_site import MeasuringSite

log = logging.getLogger("browsa.runner.identity")

WATCH_DIALOGS = Command("Page.enable", {})

# Flat sessions for all targets that runs script; each target waits until we let it run.
AUTO_ATTACH: Params = {
    "autoAttach": True,
    "waitForDebuggerOnStart": True,
    "flatten": True,
    "filter": [{"type": "browser", "exclude": True}, {"type": "tab", "exclude": True}, {}],
}

# The longest wait for other new pages: one that does not answer must not block the others.
SIBLINGS_SECONDS = 2.0


class SentCommand(NamedTuple):
    """A command that was sent, and the future of its reply."""

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
        self.ready = asyncio.get_running_loop().create_future()  # done when it has its identity, or cannot get it


class Emulator:
    """Our CDP connection to a browser, open until the browser exits: overrides end with their session.

    A warm browser already has the default identity, so most leases send no commands.
    """

    def __init__(self, browser: Chromium, identity: Identity) -> None:
        self._browser = browser
        self._identity = identity
        self._cdp: CdpConnection | None = None
        self._sessions: dict[str, Target] = {}  # by session id
        self._first_page: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._screen_id = ""
        self._window_id = 0
        self._tasks: dict[asyncio.Task[None], Target] = {}  # work on each target's identity
        self.dialogs = Dialogs(self._answer_dialog)

    async def start(self) -> None:
        """Set the identity in the browser, and from now on in every new target. Raises CdpError."""
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
        """Change a warm browser's identity. Pages that it loads from now on see only the new one.

        Raises CdpError when the browser does not answer, also when the identity is the same.
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
                await self._reapply_platform_to(target)  # the newest session still has the old platform
        if new_screen:
            await self._set_screen(self._cdp, await self._first_page)

    async def measure(self, site: MeasuringSite, machine: MachineValues) -> dict[str, Any]:
        """The fingerprint of this browser, measured in a hidden page. Raises CdpError, MeasureError."""
        assert self._cdp is not None
        hidden = (await self._cdp.call("Target.createTarget", {"url": "about:blank", "hidden": True}))["targetId"]
        try:
            session, target = next((item for item in self._sessions.items() if item[1].id == hidden), ("", None))
            if target is None:
                raise CdpError("the hidden page did not attach")
            await target.ready
            # On a busy machine what was sent before its renderer ran can be lost, so send it again and wait for it.
            again = target_commands(self._identity, target.kind)
            await asyncio.gather(*(self._cdp.call(c.method, c.params, session=session) for c in again))
            return await measure(
                self._cdp,
                first_page=await self._first_page,
                hidden_page=session,
                site=site,
                shape=(self._browser.version, self._identity.os_family),
                machine=machine,
            )
        finally:
            await self._cdp.post("Target.closeTarget", {"targetId": hidden})

    async def navigate(self, url: str) -> None:
        """Send the first page to `url` without waiting for it to load. Raises CdpError."""
        if self._cdp is not None:
            await self._cdp.post("Page.navigate", {"url": url}, session=await self._first_page)

    async def attach_newest(self, older: Collection[str] | None = None, newer: Collection[str] = ()) -> None:
        """Attach a session that is newer than a client's. Call it after a client has attached. Raises CdpError.

        Chromium keeps `navigator.platform` in the renderer. When a navigation gets a new renderer, every session
        restores its overrides there, in the order in which the sessions attached. A session that never set a platform
        resets it then (`InspectorEmulationAgent::Restore`, seen in 156), and also when it ends. So one of our sessions
        must be the newest. It attaches again to the `older` targets, which were running when the client attached; None
        means all targets. For the `newer` ones, which still waited for their debuggers, this only waits.
        """
        assert self._cdp is not None
        await self._cdp.call("Browser.getVersion")  # its reply arrives after the events of those targets
        if self._identity.family.platform != NATIVE_PLATFORM:
            for target in self._pages(older):
                self._spawn(self._attach_newest_to(target), target)
        # Wait only for these targets: others may have a busy renderer. A caller that is cancelled must not cancel the
        # work, because a session without a platform would stay the newest.
        work = [task for task, target in self._tasks.items() if older is None or target.id in {*older, *newer}]
        if work:
            await asyncio.wait(work)

    async def reapply_platform(self, left: Collection[str] = ()) -> None:
        """Set the platform again. Call it after a client's session has ended, which resets the platform.

        Targets that still have it do not change. Targets that a client has `left` do not have it now, so this is the
        time to detach our older sessions there too.
        """
        if self._identity.family.platform == NATIVE_PLATFORM:
            return
        for target in self._pages(None):
            await self._reapply_platform_to(target, detach_older=target.id in left)

    def _pages(self, targets: Collection[str] | None) -> list[Target]:
        return [t for t in self._sessions.values() if t.kind in PAGES and (targets is None or t.id in targets)]

    async def _attach_newest_to(self, target: Target) -> None:
        """Attach again. The session that was the newest stays: its end would reset the platform in a running page."""
        assert self._cdp is not None
        async with target.lock:
            try:
                # Without a timeout: after a late reply the session is still the newest, and needs the platform.
                attached = await (
                    await self._cdp.post("Target.attachToTarget", {"targetId": target.id, "flatten": True})
                )
                if target.newest_session is not None:
                    target.older_sessions.append(target.newest_session)
                target.newest_session = attached["sessionId"]
                override = platform_override(self._identity)
                await self._cdp.post(override.method, override.params, session=target.newest_session)
            except CdpError as error:
                log.debug("a %s closed while a client attached to it: %s", target.kind, error)

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
        self.dialogs.close()
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
                return  # a session of `_attach_newest_to`
            # A service worker attaches to the browser and to its page, and runs when both sessions have let it run.
            self._spawn(self._set_up(params["sessionId"], known), known)
        elif method == "Target.detachedFromTarget":
            self._sessions.pop(params["sessionId"], None)
        elif method in (dialogs.OPENING, dialogs.CLOSED) and session is not None:
            self.dialogs.on_event(method, params, session)

    def _answer_dialog(self, session: str, accept: bool) -> None:
        target = self._sessions.get(session)
        if target is not None:
            self._spawn(self._send_answer(session, accept), target)

    async def _send_answer(self, session: str, accept: bool) -> None:
        assert self._cdp is not None
        try:
            await self._cdp.call("Page.handleJavaScriptDialog", {"accept": accept}, session=session)
        except CdpError as error:
            log.debug("a dialog was over before it was answered: %s", error)

    async def _set_up(self, session: str, target: Target) -> None:
        """Set the identity in a new target and let it run. The commands go out together, in one round trip.

        They go out before anything else. A client that lets another page run may also let this one run (see
        `_wait_for_siblings`); its first answer from the network still comes through our egress, after these commands.
        """
        assert self._cdp is not None
        release = Command("Runtime.runIfWaitingForDebugger", {})
        try:
            sent = await self._send_all(
                session, [*target_commands(self._identity, target.kind), Command("Target.setAutoAttach", AUTO_ATTACH)]
            )
            if target.kind == "page":
                sent += await self._send_all(session, [WATCH_DIALOGS])
            if target.kind in PAGES:
                if self._identity.family.platform != NATIVE_PLATFORM:
                    # Clients with auto-attach have attached together with us. Attach after them, while the page still
                    # waits.
                    await self._attach_newest_to(target)
                if target.has_renderer:
                    await self._wait_for_replies(target, sent)
                    sent = []
                    self._mark_ready(target)
                    await self._wait_for_siblings(target)
            sent += await self._send_all(session, [release])
            # Do not wait for a service worker: it starts, and replies, only when all of its sessions have let it run,
            # and a client's session may wait for us. A page without a renderer has what it was sent before its first
            # script.
            if target.kind != "service_worker" and target.has_renderer:
                await self._wait_for_replies(target, sent)
        except CdpError as error:
            log.debug("a %s closed before it had its identity: %s", target.kind, error)
            return
        finally:
            self._mark_ready(target)
        if target.id == self._browser.page_id and not self._first_page.done():
            self._first_page.set_result(session)

    async def _send_all(self, session: str, commands: Sequence[Command]) -> list[SentCommand]:
        """Send commands without waiting for replies. Raises CdpError when the browser has exited."""
        assert self._cdp is not None
        return [SentCommand(c.method, await self._cdp.post(c.method, c.params, session=session)) for c in commands]

    async def _wait_for_replies(self, target: Target, sent: Sequence[SentCommand]) -> None:
        replies = await asyncio.gather(*(command.reply for command in sent), return_exceptions=True)
        for command, reply in zip(sent, replies, strict=True):
            if isinstance(reply, CdpError) and not self._browser.gone.done():
                log.debug("%s of a new %s: %s", command.method, target.kind, reply)

    async def _wait_for_siblings(self, target: Target) -> None:
        """Wait until pages that were opened together with this one have their identity too.

        Pages of one renderer wait in the same loop: letting one of them run lets all of them run, also those that have
        just begun to wait.
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
