"""Set the parts of a fingerprint that Chromium takes from CDP alone, in every page, frame and worker, before it runs.

These are the client hints and, after a client has attached or left, `navigator.platform`. All others are set when the
process starts, see `runner.identity.launch`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine, Sequence
from typing import Any, NamedTuple

from fingerprints import Fingerprint
from runner import dialogs
from runner.cdp import CdpConnection, CdpError, Params
from runner.chromium import Chromium
from runner.dialogs import Dialogs
from runner.identity.emulation import NATIVE_PLATFORM, Command
from runner.identity.measure import MachineValues, measure
from runner.identity.measuring_site import MeasuringSite
from runner.identity.overrides import HIDDEN, PAGES, platform_override, target_commands

log = logging.getLogger("browsa.runner.identity")

WATCH_DIALOGS = Command("Page.enable", {})

# Flat sessions for all targets that runs script; each target waits until we let it run.
AUTO_ATTACH: Params = {
    "autoAttach": True,
    "waitForDebuggerOnStart": True,
    "flatten": True,
    "filter": [{"type": "browser", "exclude": True}, {"type": "tab", "exclude": True}, {}],
}

RESUME = Command("Runtime.runIfWaitingForDebugger", {})

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

    Which sessions must let a new page run, was tried with two of them in Chromium 156: with an opener any one of them
    does, otherwise each one must.
    """

    def __init__(self, info: Params, parent: Target | None) -> None:
        self.id: str = info["targetId"]
        self.kind: str = info["type"]
        self.hidden: bool = self.kind == HIDDEN or (parent is not None and parent.hidden)
        self.has_opener: bool = info["canAccessOpener"]
        self.has_renderer = self.has_opener or bool(info["url"])
        self.newest_session: str | None = None
        self.older_sessions: list[str] = []  # sessions that were `newest_session` before
        self.lock = asyncio.Lock()
        self.ready = asyncio.get_running_loop().create_future()  # done when it has its identity, or cannot get it


class Emulator:
    """Our CDP connection to a browser, open until the browser exits: overrides end with their session.

    `paused_by_clients` are the targets that wait for the debugger of a client, so that only the client may resume them.
    """

    def __init__(self, browser: Chromium, fingerprint: Fingerprint) -> None:
        self.paused_by_clients: set[str] = set()
        self._browser = browser
        self._fingerprint = fingerprint
        self._native_platform = fingerprint.platform == NATIVE_PLATFORM
        self._cdp: CdpConnection | None = None
        self._sessions: dict[str, Target] = {}  # by session id
        self._first_page: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._tasks: dict[asyncio.Task[None], Target] = {}  # work on each target
        self.dialogs = Dialogs(self._answer_dialog)

    async def start(self) -> None:
        """Set the overrides in the first page, and from now on in every new target. Raises CdpError."""
        self._cdp = await self._browser.connect(self._on_event)
        await self._cdp.post("Target.setAutoAttach", AUTO_ATTACH)
        try:
            async with asyncio.timeout(10):
                await self._first_page
        except TimeoutError as error:
            raise CdpError("the first page did not attach") from error

    async def check(self) -> None:
        """Raises CdpError when the browser does not answer."""
        assert self._cdp is not None
        await self._cdp.call("Browser.getVersion")

    async def measure(self, site: MeasuringSite, machine: MachineValues) -> dict[str, Any]:
        """The fingerprint of this browser, measured in a hidden page. Raises CdpError, MeasureError."""
        assert self._cdp is not None
        hidden = (await self._cdp.call("Target.createTarget", {"url": "about:blank", "hidden": True}))["targetId"]
        try:
            session, target = next((item for item in self._sessions.items() if item[1].id == hidden), ("", None))
            if target is None:
                raise CdpError("the hidden page did not attach")
            await target.ready
            # A hidden page may have had no renderer until now. Its answers show that the renderer has the overrides.
            again = await self._send_all(session, target_commands(self._fingerprint, target.kind, hidden=target.hidden))
            await asyncio.gather(*(command.reply for command in again))
            return await measure(
                self._cdp,
                first_page=await self._first_page,
                hidden_page=session,
                site=site,
                shape=(self._browser.version, self._fingerprint.fonts),
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
        if not self._native_platform:
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
        if self._native_platform:
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
                override = platform_override(self._fingerprint)
                await self._cdp.post(override.method, override.params, session=target.newest_session)
            except CdpError as error:
                log.debug("a %s closed while a client attached to it: %s", target.kind, error)

    async def _reapply_platform_to(self, target: Target, *, detach_older: bool = False) -> None:
        assert self._cdp is not None
        async with target.lock:
            while detach_older and target.older_sessions:
                await self._cdp.post("Target.detachFromTarget", {"sessionId": target.older_sessions.pop()})
            if target.newest_session is not None:
                override = platform_override(self._fingerprint)
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
                known = Target(info, self._sessions.get(session or ""))
                self._sessions[params["sessionId"]] = known
            elif not params["waitingForDebugger"]:
                return  # a session of `_attach_newest_to`
            self._spawn(self._set_up(params["sessionId"], known), known)
        elif method == "Target.detachedFromTarget":
            ended = self._sessions.pop(params["sessionId"], None)
            if ended is not None:
                self.paused_by_clients.discard(ended.id)
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
        """Set the overrides in a new target, and let it run unless a client's debugger has that right.

        The commands go out together and before anything else. A client that lets another page run may also let this
        one run (see `_wait_for_siblings`).
        """
        assert self._cdp is not None
        try:
            overrides = target_commands(self._fingerprint, target.kind, hidden=target.hidden)
            sent = await self._send_all(session, [*overrides, Command("Target.setAutoAttach", AUTO_ATTACH)])
            if target.kind == "page":
                sent += await self._send_all(session, [WATCH_DIALOGS])
            if target.kind in PAGES:
                if not self._native_platform:
                    # Clients with auto-attach have attached together with us. Attach after them, while the page still
                    # waits.
                    await self._attach_newest_to(target)
                if target.has_renderer:
                    await self._wait_for_replies(target, sent)
                    sent = []
                    self._mark_ready(target)
                    await self._wait_for_siblings(target)
                await self._cdp.call("Browser.getVersion")  # after it, the gateway has the clients' events, too
            self._mark_ready(target)
            # A service worker attaches to the browser and to its page, and runs when all sessions have let it run.
            if not (target.has_opener and target.id in self.paused_by_clients):
                sent += await self._send_all(session, [RESUME])
                # Do not wait for a service worker: a client's session may wait for us. A page without a renderer has
                # what it was sent before its first script.
                if target.kind != "service_worker" and target.has_renderer:
                    await self._wait_for_replies(target, sent)
        except CdpError as error:
            log.debug("a %s closed before it had its overrides: %s", target.kind, error)
            return
        finally:
            self._mark_ready(target)
        if target.id == self._browser.page_id and not self._first_page.done():
            self._first_page.set_result(session)

    async def resume(self, targets: Collection[str]) -> None:
        """Let pages run that waited for a client which has left. A running page does not change."""
        assert self._cdp is not None
        self.paused_by_clients.difference_update(targets)
        for session, target in list(self._sessions.items()):
            if target.id in targets:
                await self._send_all(session, [RESUME])

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
