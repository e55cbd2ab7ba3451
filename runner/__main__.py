"""`python -m runner`: the data plane of one machine.

SIGTERM drains: the runner grants no new leases, and the running ones have `BROWSA_DRAIN_SECONDS` to end. SIGINT, or a
second signal, ends everything at once. In both cases the runner reports to the API which leases ended.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import uvloop

from fingerprints.families import DEFAULT_FAMILY
from runner.browser import Browser
from runner.cgroups import Cgroups, NoCgroups
from runner.chromium_flags import shell_flags
from runner.config import ConfigError, RunnerConfig
from runner.control import Control
from runner.egress.check import check_egress
from runner.egress.dial import Dialer
from runner.egress.upstreams import Upstreams
from runner.gateway.server import Gateway
from runner.identity import fonts
from runner.identity.measure import MachineValues
from runner.jail import JailError, marker_of
from runner.launcher import Launcher
from runner.leases import Leases
from runner.live.hub import LiveViews
from runner.pages.service import PageService
from runner.pages.shell import Shell
from runner.pool import Pool
from runner.pool_decisions import Shape
from runner.reports import Reporter
from runner.uids import Uids
from runner.wire import JailStatus

log = logging.getLogger("browsa.runner")

FLUSH_SECONDS = 2.0


class Runner:
    """All parts of one runner, built from its settings."""

    def __init__(self, config: RunnerConfig) -> None:
        self._config = config
        # Compared as strings, the id of a later start is greater.
        boot_id = f"{time.time_ns():016x}-{secrets.token_hex(4)}"
        country = next(iter(config.countries))
        self._uids = Uids()
        self._cgroups = _cgroups(config)
        self._fonts = Path(tempfile.gettempdir()) / f"browsa-{marker_of(config.home)}-fonts"
        launcher = partial(
            Launcher,
            jailed=config.jail == "bwrap",
            home=config.home,
            uids=self._uids,
            cgroups=self._cgroups,
        )
        leasing = launcher(config.chromium, limits=config.browser_limits, fonts=self._fonts)
        paging = launcher(config.headless_shell, limits=config.shell_limits, flags=shell_flags)
        self._launchers = [leasing, paging]
        dialer = Dialer(config.allow)
        self._upstreams = Upstreams(config.countries)
        machine = MachineValues()
        self._pool = Pool(
            lambda order: Browser.start(leasing, dialer, order, machine=machine),
            target=config.pool_size,
            limit=config.limit(files_count=self._cgroups is not None),
            default=Shape(DEFAULT_FAMILY, country),
        )
        self._pages = PageService(
            lambda refused: Shell.start(paging, dialer, country=country, upstreams=self._upstreams, on_refused=refused),
            places=config.page_places,
            country=country,
        )
        self._reporter = Reporter(config.report_url, token=config.token, runner_id=config.runner_id, boot_id=boot_id)
        self._leases = Leases(
            self._pool,
            runner_id=config.runner_id,
            boot_id=boot_id,
            upstreams=self._upstreams,
            on_end=self._reporter.add,
        )
        live = LiveViews(self._leases.find_live, origins=config.origins | {config.page_origin})
        self._gateway = Gateway(self._leases.find, live, public_url=config.public_cdp_url, origins=config.origins)
        self._control = Control(
            self._leases,
            self._pool,
            self._pages,
            runner_id=config.runner_id,
            boot_id=boot_id,
            chromium=str(config.chromium),
            upstreams=self._upstreams,
            check_egress=partial(check_egress, self._upstreams, dialer, echo_url=config.echo_url),
        )

    async def serve(self) -> None:
        """Run until a signal. Raises JailError when no jail can be created, OSError when an address is in use."""
        # Bind the address first: while another runner of this home has it, that runner's jails are not leftovers.
        port = await self._gateway.start(self._config.gateway_host, self._config.gateway_port)
        for launcher in self._launchers:
            launcher.prepare()
        fonts.build_caches(self._fonts)
        if self._cgroups is not None and (left := self._cgroups.remove_leftovers()):
            log.warning("removed %d control groups of jails that a previous runner left", left)
        self._control.jail = self._jail_status()
        log.info("jails: uid %s; limits: %s", self._control.jail.users, "; ".join(self._control.jail.limits))
        stop: asyncio.Queue[bool] = asyncio.Queue()  # True to drain first, False to stop at once
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.put_nowait, True)
        loop.add_signal_handler(signal.SIGINT, stop.put_nowait, False)
        self._upstreams.start()
        self._pool.open()
        self._pages.open()
        self._reporter.start()
        await self._control.start(self._config.control_socket)
        log.info("runner %s: gateway on %s:%d", self._config.runner_id, self._config.gateway_host, port)
        try:
            gently = await stop.get()
            self._control.state = "draining"
            if gently:
                await _drain(self._leases, self._pages, stop, self._config.drain_seconds)
        finally:
            await self._end()

    async def _end(self) -> None:
        for lease_id in self._leases.ids():
            self._leases.end(lease_id, "shutdown")
        self._upstreams.close()
        self._pool.close()
        self._pages.close()
        await self._pool.emptied()
        await self._pages.emptied()
        await self._reporter.flush(seconds=FLUSH_SECONDS)
        await self._control.close()
        self._gateway.close()
        for launcher in self._launchers:
            launcher.close()
        shutil.rmtree(self._fonts, ignore_errors=True)
        self._uids.close()

    def _jail_status(self) -> JailStatus:
        if self._config.jail == "off":
            return JailStatus()
        own = all(launcher.own_uids for launcher in self._launchers)
        groups = self._cgroups
        return JailStatus(
            mode="bwrap",
            users="own" if own else "root" if os.geteuid() == 0 else "runner",
            limits=[
                *([f"cgroup v{groups.version}: {', '.join(groups.controllers)}"] if groups is not None else []),
                "rlimits",
                "files",
            ],
        )


def _cgroups(config: RunnerConfig) -> Cgroups | None:
    """The parent of the jails' control groups. Logs a warning and returns None when the runner can create none."""
    if config.jail == "off" or config.cgroups == "off":
        return None
    try:
        return Cgroups.find(marker_of(config.home))
    except NoCgroups as error:
        log.warning("no control groups: only rlimits limit a browser's memory and processes (%s)", error)
        return None


async def _drain(leases: Leases, pages: PageService, stop: asyncio.Queue[bool], seconds: float) -> None:
    """Wait until no lease and no page is left, `seconds` are over, or a second signal comes."""
    if len(leases):
        log.info("draining: %d leases have up to %g s", len(leases), seconds)
    again = asyncio.create_task(stop.get())
    deadline = asyncio.get_running_loop().time() + seconds
    while (len(leases) or pages.busy) and not again.done() and asyncio.get_running_loop().time() < deadline:
        await asyncio.wait([again], timeout=0.1)
    again.cancel()


def main() -> int:
    logging.basicConfig(
        level=os.environ.get("BROWSA_LOG_LEVEL", "INFO"),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    logging.getLogger("websockets").setLevel(logging.WARNING)
    try:
        uvloop.run(Runner(RunnerConfig.from_env(os.environ)).serve())
    except (ConfigError, JailError, OSError) as error:
        log.critical("the runner does not start: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
