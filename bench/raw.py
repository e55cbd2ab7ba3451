"""The baseline for pages: raw CDP on a warm headless shell with a fresh context per page; no jail, proxy or ledger."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from runner.browsers import find_chromium, find_headless_shell
from runner.cdp import CdpConnection, Params
from runner.chromium import Chromium
from runner.chromium_flags import shell_flags
from runner.identity.launch import Launch
from runner.launcher import Launcher


class RawTab:
    """A browser context with one page."""

    def __init__(self, context: str, session: str) -> None:
        self.context = context
        self.session = session
        self.loaded = asyncio.Event()


class RawShell:
    """A warm headless shell without Browsa around it."""

    def __init__(self, chromium: Chromium) -> None:
        self.chromium = chromium
        self._tabs: dict[str, RawTab] = {}
        self._cdp: CdpConnection | None = None

    @classmethod
    @asynccontextmanager
    async def running(cls, environ: Mapping[str, str]) -> AsyncIterator[RawShell]:
        binary = find_headless_shell(environ) or find_chromium(environ)
        if binary is None:
            raise LookupError("no Chromium")
        with tempfile.TemporaryDirectory() as home:
            launcher = Launcher(binary, jailed=False, home=Path(home), flags=_unproxied)
            launcher.prepare()
            shell = cls(await launcher.launch(Launch()))
            shell._cdp = await shell.chromium.connect(shell._on_event)
            try:
                yield shell
            finally:
                await shell._cdp.close()
                shell.chromium.kill()
                await shell.chromium.gone
                launcher.close()

    @property
    def cdp(self) -> CdpConnection:
        if self._cdp is None:
            raise RuntimeError("not running")
        return self._cdp

    async def open(self) -> RawTab:
        context = (await self.cdp.call("Target.createBrowserContext"))["browserContextId"]
        target = await self.cdp.call("Target.createTarget", {"url": "about:blank", "browserContextId": context})
        attached = await self.cdp.call("Target.attachToTarget", {"targetId": target["targetId"], "flatten": True})
        tab = RawTab(context, attached["sessionId"])
        self._tabs[tab.session] = tab
        await self.cdp.call("Page.enable", session=tab.session)
        return tab

    async def load(self, tab: RawTab, url: str) -> str:
        """Navigate and return the page's HTML."""
        tab.loaded.clear()
        await self.cdp.call("Page.navigate", {"url": url}, session=tab.session)
        await tab.loaded.wait()
        script = {"expression": "document.documentElement.outerHTML", "returnByValue": True}
        return str((await self.cdp.call("Runtime.evaluate", script, session=tab.session))["result"]["value"])

    async def dispose(self, tab: RawTab) -> None:
        del self._tabs[tab.session]
        await self.cdp.call("Target.disposeBrowserContext", {"browserContextId": tab.context})

    async def fetch(self, url: str) -> None:
        """Open a tab, load the page, and dispose of the tab."""
        tab = await self.open()
        await self.load(tab, url)
        await self.dispose(tab)

    def processes(self) -> list[psutil.Process]:
        main = psutil.Process(self.chromium.process.pid)
        return [main, *main.children(recursive=True)]

    def _on_event(self, method: str, params: Params, session: str | None) -> None:
        if method == "Page.loadEventFired" and session in self._tabs:
            self._tabs[session].loaded.set()


def _unproxied(proxy: str, profile: str) -> list[str]:
    return [flag for flag in shell_flags(proxy, profile) if not flag.startswith("--proxy-")]
