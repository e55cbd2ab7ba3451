"""One headless shell that loads pages: its tabs, one browser context each, and its ways out, one port a country."""

from __future__ import annotations

import asyncio
import secrets
import socket
from contextlib import suppress
from weakref import WeakValueDictionary

from fingerprints.families import DEFAULT_FAMILY
from fingerprints.places import Place
from runner import jail
from runner.cdp import CdpConnection, CdpError, Params
from runner.chromium import Chromium, ChromiumError
from runner.egress import socks
from runner.egress.dial import Dialer
from runner.egress.socks import Refused
from runner.egress.upstreams import Route, Upstreams
from runner.identity.emulation import NATIVE_LOCALE, Identity, place_commands
from runner.identity.launch import Launch
from runner.launcher import Launcher
from runner.pages.tab import Tab

TAB_PORTS = 10_000  # the first port for a tab of its own; a shell is replaced long before 65535


class Shell:
    """A running shell. `pages` counts the tabs that it has ever had, `busy` those in use."""

    def __init__(
        self, chromium: Chromium, dialer: Dialer, upstreams: Upstreams, on_refused: Refused, *, timezone: str
    ) -> None:
        self.chromium = chromium
        self._dialer = dialer
        self._upstreams = upstreams
        self.pages = 0
        self.busy = 0
        self._native = place_commands(Place(timezone, NATIVE_LOCALE))
        self._on_refused = on_refused
        self._cdp: CdpConnection | None = None
        self._tabs: dict[str, Tab] = {}  # by session
        self._frames: WeakValueDictionary[str, Tab] = WeakValueDictionary()  # whose frames have sessions of their own
        self._egress: list[asyncio.Server] = []
        self._ports: dict[str, int] = {}  # of the direct countries
        self._next_port = TAB_PORTS

    @classmethod
    async def start(
        cls, launcher: Launcher, dialer: Dialer, *, country: str, upstreams: Upstreams, on_refused: Refused
    ) -> Shell:
        """A shell whose processes have the time zone of `country` and the user agent of the default family.

        Workers and frames of other sites have them without a CDP override. Raises ChromiumError.
        """
        native = Identity.of(DEFAULT_FAMILY, country, launcher.version)
        settings = Launch((f"--user-agent={native.user_agent}",), {"TZ": native.place.timezone})
        chromium = await launcher.launch(settings)
        shell = cls(chromium, dialer, upstreams, on_refused, timezone=native.place.timezone)
        shell.chromium.gone.add_done_callback(lambda _gone: shell._lost())
        try:
            await shell._open_shared_egress()
            shell._cdp = await shell.chromium.connect(shell._on_event)
        except (OSError, CdpError) as error:
            shell.kill()
            raise ChromiumError(f"a new headless shell does not answer: {error}") from error
        return shell

    async def _open_shared_egress(self) -> None:
        """The first country on the listener that every browser has, the other direct ones on ports of their own.

        Without a tab's own proxy nothing leaves, if the first country is not a direct one.
        """
        for number, (country, way) in enumerate(self._upstreams.countries.items()):
            direct: Route | None = "direct" if way == "direct" else None
            if number and direct is None:
                continue
            listener = self.chromium.listener if number == 0 else await self.chromium.listen(jail.PROXY_PORT + number)
            if listener is None:
                raise ChromiumError("no listener")
            if direct is not None:
                self._ports[country] = listener.getsockname()[1]
            self._egress.append(await self._serve(listener, direct))

    async def _serve(self, listener: socket.socket, route: Route | None) -> asyncio.Server:
        return await socks.serve(listener, self._dialer, lambda: route, self._on_refused)

    async def open(self, identity: Identity, country: str) -> Tab:
        """A blank tab with `identity` whose traffic leaves through `country`. Raises CdpError.

        With upstream proxies each tab has a port of its own, so that all connections of its page have the same exit.
        """
        cdp = self._connection()
        port, own = self._ports.get(country), None
        if port is None:
            self._next_port += 1
            try:
                listener = await self.chromium.listen(self._next_port)
                own = await self._serve(listener, self._upstreams.route(country, token=secrets.token_hex(8)))
            except OSError as error:
                raise CdpError(f"no listener for a tab: {error}") from error
            port = listener.getsockname()[1]
        try:
            context = await cdp.call(
                "Target.createBrowserContext",
                {"proxyServer": f"socks5://127.0.0.1:{port}", "proxyBypassList": "<-loopback>"},
            )
            context_id = context["browserContextId"]
            target = await cdp.call("Target.createTarget", {"url": "about:blank", "browserContextId": context_id})
            attached = await cdp.call("Target.attachToTarget", {"targetId": target["targetId"], "flatten": True})
        except BaseException:
            if own is not None:
                own.close()
            raise
        session = attached["sessionId"]
        tab = Tab(cdp, context=context_id, target=target["targetId"], session=session, native=self._native)
        tab.egress = own
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
