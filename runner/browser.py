"""A browser that can be leased: a Chromium, its only way out, and the identity it has."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Collection

from runner.cdp import CdpError
from runner.chromium import Chromium, ChromiumError
from runner.egress import socks
from runner.egress.dial import Dialer
from runner.identity.emulation import DEFAULT_FAMILY, Identity
from runner.identity.emulator import Emulator
from runner.launcher import Launcher
from runner.wire import OsFamily

log = logging.getLogger("browsa.runner.browser")

DISCONNECT_SECONDS = (0.05, 0.5, 3.0)  # when Chromium may have taken note that a connection of its own is gone


class Browser:
    """Made warm by `start`, given to one lease by `configure`, ended by `kill`; it is never used twice."""

    def __init__(self, chromium: Chromium, country: str) -> None:
        self.chromium = chromium
        self._route: str | None = None
        self._emulator = Emulator(chromium, Identity.of(DEFAULT_FAMILY, country, chromium.version))
        self._egress: asyncio.Server | None = None

    @classmethod
    async def start(cls, launcher: Launcher, dialer: Dialer, *, country: str) -> Browser:
        """A warm browser with the default identity of `country`. Raises ChromiumError."""
        chromium = await launcher.launch()
        browser = cls(chromium, country)
        try:
            assert chromium.listener is not None
            browser._egress = await socks.serve(chromium.listener, dialer, lambda: browser._route)
            await browser._emulator.start()
        except (CdpError, OSError) as error:
            browser.kill()
            await browser.closed()
            raise ChromiumError(f"a new Chromium does not answer: {error}") from error
        except BaseException:
            browser.kill()
            raise
        return browser

    @property
    def gone(self) -> asyncio.Future[int]:
        """Chromium's exit status, once it has one."""
        return self.chromium.gone

    @property
    def page_id(self) -> str:
        return self.chromium.page_id

    async def configure(self, os_family: OsFamily, country: str, *, route: str) -> None:
        """Take on a lease's identity and open its way out. Raises CdpError when the browser does not answer."""
        async with asyncio.timeout(5):
            await self._emulator.set_identity(Identity.of(os_family, country, self.chromium.version))
        self._route = route

    async def navigate(self, url: str) -> None:
        """Send the first page to `url`; returns at once. Raises CdpError."""
        await self._emulator.navigate(url)

    async def sessions_began(self, older: Collection[str] | None, newer: Collection[str] = ()) -> None:
        """A client's session may undo a part of the identity; to be called when some have begun.

        They are of `older` targets, which ran by then, and of `newer` ones, which waited for their clients and for us;
        None when that is not known. When it returns, all of them have their identity.
        """
        if self.gone.done():
            return
        try:
            await self._emulator.attach_newest(older, newer)
        except CdpError as error:
            log.debug("a browser went away while a client came: %s", error)

    async def sessions_ended(self, targets: Collection[str]) -> None:
        """The same, to be called when sessions have ended; `targets` are those that are known to have been theirs."""
        if self.gone.done():
            return
        try:
            await self._emulator.reapply_platform(targets)
        except CdpError as error:
            log.debug("a browser went away while a client left: %s", error)

    async def connection_ended(self, targets: Collection[str]) -> None:
        """The same, to be called when a whole connection has ended, and with it the sessions of `targets`.

        Chromium does not say when it has noticed, which on a busy machine takes its time.
        """
        waited = 0.0
        for after in DISCONNECT_SECONDS:
            await asyncio.sleep(after - waited)
            await self.sessions_ended(targets)
            waited = after

    async def dial(self) -> socket.socket:
        """A connection to its DevTools port. Raises ChromiumError."""
        return await self.chromium.dial()

    def kill(self) -> None:
        self._route = None
        self.chromium.kill()

    async def closed(self) -> int:
        """Wait until nothing of it is left; its exit status."""
        status = await self.gone
        if self._egress is not None:
            self._egress.close()
        await self._emulator.close()
        return status
