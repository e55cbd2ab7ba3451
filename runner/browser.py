"""A browser that can be leased: a Chromium, its egress proxy, and its identity."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Collection
from typing import Any

from fingerprints import Fingerprint, draw
from runner.cdp import CdpError
from runner.chromium import Chromium, ChromiumError
from runner.dialogs import Dialogs
from runner.downloads import Downloads
from runner.egress import socks
from runner.egress.dial import Dialer
from runner.egress.own_hosts import OwnSite
from runner.egress.upstreams import Route
from runner.identity.emulator import Emulator
from runner.identity.harness_site import HarnessSite
from runner.identity.launch import launch_of
from runner.identity.measure import MachineValues
from runner.identity.measuring_site import MeasureError, MeasuringSite
from runner.launcher import Launcher
from runner.pool_decisions import Shape, Wanted

log = logging.getLogger("browsa.runner.browser")

SEED_BYTES = 8
DISCONNECT_SECONDS = (0.05, 0.5, 3.0)  # after a disconnect; Chromium has noticed it by one of these


class Browser:
    """`start` makes a warm browser, `lease` opens its egress, `kill` ends it. It is never used twice."""

    def __init__(self, chromium: Chromium, shape: Shape, fingerprint: Fingerprint) -> None:
        self.chromium = chromium
        self.shape = shape
        self.fingerprint = fingerprint
        self.measured: dict[str, Any] = {}  # what this browser reports of itself
        self._route: Route | None = None
        self._own_site: OwnSite | None = None  # the pages of the runner that it may open now
        self._emulator = Emulator(chromium, fingerprint)
        self._egress: asyncio.Server | None = None
        self.downloads = Downloads(chromium)

    @classmethod
    async def start(cls, launcher: Launcher, dialer: Dialer, order: Wanted, *, machine: MachineValues) -> Browser:
        """A browser with a fingerprint as ordered, measured, without egress yet. Raises ChromiumError."""
        fingerprint = draw(
            seed=order.seed or secrets.token_hex(SEED_BYTES),
            os_family=order.shape.os_family,
            country=order.shape.country,
            chromium_version=launcher.version,
            overrides=dict(order.overrides),
        )
        chromium = await launcher.launch(launch_of(fingerprint))
        browser = cls(chromium, order.shape, fingerprint)
        try:
            assert chromium.listener is not None
            browser._egress = await socks.serve(
                chromium.listener, dialer, lambda: browser._route, own=lambda: browser._own_site
            )
            await browser._emulator.start()
            await browser.downloads.start()
            await browser._measure(machine)
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
        """Chromium's exit status, once it has exited."""
        return self.chromium.gone

    @property
    def page_id(self) -> str:
        return self.chromium.page_id

    async def lease(self, *, route: Route) -> None:
        """Open the egress. Raises CdpError or TimeoutError: the browser does not answer."""
        async with asyncio.timeout(5):
            await self._emulator.check()
        self._route = route

    async def _measure(self, machine: MachineValues) -> None:
        """Set `measured`; a browser whose page fails can still be leased, unmeasured. Raises CdpError."""
        self._own_site = site = MeasuringSite()
        try:
            self.measured = await self._emulator.measure(site, machine)
        except MeasureError as error:
            log.warning("a browser was not measured: %s", error)
        finally:
            self._own_site = None
            await site.close()

    def serve_harness(self) -> None:
        """Let this browser open the reference pages of the harness, until its end."""
        self._own_site = HarnessSite()

    async def navigate(self, url: str) -> None:
        """Send the first page to `url`; returns at once. Raises CdpError."""
        await self._emulator.navigate(url)

    @property
    def dialogs(self) -> Dialogs:
        return self._emulator.dialogs

    async def sessions_began(self, older: Collection[str] | None, newer: Collection[str] = ()) -> None:
        """Restore the identity after a client's sessions have begun; a session can override a part of it.

        `older` are the targets of these sessions that were already running, or None when the caller does not know
        them. `newer` are those that still waited for their debuggers. On return all of them have their identity.
        """
        if self.gone.done():
            return
        try:
            await self._emulator.attach_newest(older, newer)
        except CdpError as error:
            log.debug("the browser exited while a client attached: %s", error)

    async def sessions_ended(self, targets: Collection[str]) -> None:
        """Restore the identity after sessions have ended. `targets` are the targets of these, as far as known."""
        if self.gone.done():
            return
        try:
            await self._emulator.reapply_platform(targets)
        except CdpError as error:
            log.debug("the browser exited while a client detached: %s", error)

    def pause_for_client(self, targets: Collection[str]) -> None:
        """Leave it to a client to resume these new targets, which wait for its debugger."""
        self._emulator.paused_by_clients.update(targets)

    async def connection_ended(self, targets: Collection[str], paused: Collection[str] = ()) -> None:
        """Restore the identity after a whole connection has ended, and with it its sessions of `targets`.

        Those of them that were `paused` for the client may still wait for it, and run now.

        Chromium ends the sessions when it notices the disconnect. It sends no event then, and on a busy machine this
        takes up to some seconds, so the identity is restored several times.
        """
        waited = 0.0
        for after in DISCONNECT_SECONDS:
            await asyncio.sleep(after - waited)
            await self.sessions_ended(targets)
            waited = after
            if self.gone.done():
                return
            try:
                await self._emulator.resume(paused)
            except CdpError as error:
                log.debug("the browser exited while a client detached: %s", error)

    async def dial(self) -> socket.socket:
        """A new connection to its DevTools port. Raises ChromiumError."""
        return await self.chromium.dial()

    def kill(self) -> None:
        self._route = None
        self.chromium.kill()

    async def closed(self) -> int:
        """Wait until Chromium has exited and its connections are closed. Returns the exit status."""
        status = await self.gone
        if self._egress is not None:
            self._egress.close()
        await self._emulator.close()
        await self.downloads.close()
        return status
