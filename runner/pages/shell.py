"""One headless shell that loads pages: its tabs, one browser context each, and its ways out, one port a country."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from weakref import WeakValueDictionary

from runner import jail
from runner.cdp import CdpConnection, CdpError, Params
from runner.chromium import Chromium, ChromiumError
from runner.egress import socks
from runner.egress.dial import Dialer
from runner.egress.socks import Refused
from runner.identity.emulation import NATIVE_LOCALE, Identity, place_commands
from runner.identity.places import Place
from runner.launcher import Launcher
from runner.pages.tab import Tab


class Shell:
    """A running shell. `pages` counts the tabs that it has ever had, `busy` those in use."""

    def __init__(self, chromium: Chromium, on_refused: Refused, *, timezone: str) -> None:
        self.chromium = chromium
        self.pages = 0
        self.busy = 0
        self._native = place_commands(Place(timezone, NATIVE_LOCALE))
        self._on_refused = on_refused
        self._cdp: CdpConnection | None = None
        self._tabs: dict[str, Tab] = {}  # by session
        self._frames: WeakValueDictionary[str, Tab] = WeakValueDictionary()  # whose frames have sessions of their own
        self._egress: list[asyncio.Server] = []
        self._ports: dict[str, int] = {}  # by country

    @classmethod
    async def start(
        cls, launcher: Launcher, dialer: Dialer, *, countries: dict[str, str], on_refused: Refused
    ) -> Shell:
        """Raises ChromiumError."""
        shell = cls(await launcher.launch(), on_refused, timezone=launcher.timezone)
        shell.chromium.gone.add_done_callback(lambda _gone: shell._lost())
        try:
            await shell._open_egress(dialer, countries)
            shell._cdp = await shell.chromium.connect(shell._on_event)
        except (OSError, CdpError) as error:
            shell.kill()
            raise ChromiumError(f"a new headless shell does not answer: {error}") from error
        return shell

    async def _open_egress(self, dialer: Dialer, countries: dict[str, str]) -> None:
        """The first country on the listener that every browser has, the others on ports of their own."""
        for number, (country, route) in enumerate(countries.items()):
            listener = self.chromium.listener if number == 0 else await self.chromium.listen(jail.PROXY_PORT + number)
            if listener is None:
                raise ChromiumError("no listener")
            self._ports[country] = listener.getsockname()[1]
            self._egress.append(await socks.serve(listener, dialer, partial(str, route), self._on_refused))

    async def open(self, identity: Identity, country: str) -> Tab:
        """A blank tab with `identity` whose traffic leaves through `country`. Raises CdpError."""
        cdp = self._connection()
        proxy = f"socks5://127.0.0.1:{self._ports[country]}"
        context = await cdp.call(
            "Target.createBrowserContext", {"proxyServer": proxy, "proxyBypassList": "<-loopback>"}
        )
        context_id = context["browserContextId"]
        target = await cdp.call("Target.createTarget", {"url": "about:blank", "browserContextId": context_id})
        attached = await cdp.call("Target.attachToTarget", {"targetId": target["targetId"], "flatten": True})
        session = attached["sessionId"]
        tab = Tab(cdp, context=context_id, target=target["targetId"], session=session, native=self._native)
        self._tabs[tab.session] = tab
        self.pages += 1
        await cdp.post("Browser.setDownloadBehavior", {"behavior": "deny", "browserContextId": context_id})
        await tab.prepare()
        await tab.become(identity)
        tab.country = country
        return tab

    async def dispose(self, tab: Tab) -> None:
        """Throw a tab and all that its page left away."""
        self._tabs.pop(tab.session, None)
        tab.lost()
        with suppress(CdpError):  # the shell is gone, and the tab with it
            await self._connection().post("Target.disposeBrowserContext", {"browserContextId": tab.context})

    def kill(self) -> None:
        self.chromium.kill()

    async def closed(self) -> None:
        """Wait until nothing of it is left."""
        await self.chromium.gone
        for server in self._egress:
            server.close()
        if self._cdp is not None:
            await self._cdp.close()

    @property
    def alive(self) -> bool:
        return not self.chromium.gone.done() and self._cdp is not None and not self._cdp.closed

    def _connection(self) -> CdpConnection:
        if self._cdp is None or self._cdp.closed:
            raise CdpError("the headless shell is gone")
        return self._cdp

    def _on_event(self, method: str, params: Params, session: str | None) -> None:
        if session is None and method == "Target.detachedFromTarget":
            session = params["sessionId"]
        if session is None:
            return
        tab = self._tabs.get(session)
        if method == "Target.attachedToTarget" and (owner := tab or self._frames.get(session)) is not None:
            self._frames[params["sessionId"]] = owner
            owner.on_event(method, params)
        elif tab is not None:
            tab.on_event(method, params)

    def _lost(self) -> None:
        for tab in self._tabs.values():
            tab.lost()
        self._tabs.clear()
