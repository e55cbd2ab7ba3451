"""`python -m runner`: the data plane of one machine.

SIGTERM drains: no new leases, the running ones may finish within `BROWSA_DRAIN_SECONDS`. SIGINT, or a second
signal, ends everything now. Either way the API is told what ended.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import sys
import time
from functools import partial

import uvloop

from runner.browser import Browser
from runner.chromium import shell_flags
from runner.config import ConfigError, RunnerConfig
from runner.control import Control
from runner.egress.dial import Dialer
from runner.gateway.server import Gateway
from runner.identity.places import PLACES
from runner.jail import JailError
from runner.launcher import Launcher
from runner.leases import Leases
from runner.live.service import LiveViews
from runner.pages.service import PageService
from runner.pages.shell import Shell
from runner.pool import Pool
from runner.reports import Reporter

log = logging.getLogger("browsa.runner")

FLUSH_SECONDS = 2.0


class Runner:
    """The parts of one runner, made from its settings."""

    def __init__(self, config: RunnerConfig) -> None:
        self._config = config
        jailed, boot_id, country = config.jail == "bwrap", _boot_id(), next(iter(config.countries))
        launcher = partial(Launcher, jailed=jailed, home=config.home, timezone=PLACES[country].timezone)
        self._launchers = [launcher(config.chromium), launcher(config.headless_shell, flags=shell_flags)]
        leasing, paging = self._launchers
        dialer = Dialer(config.allow)
        self._pool = Pool(
            lambda: Browser.start(leasing, dialer, country=country),
            target=config.pool_size,
            limit=config.max_browsers,
        )
        self._pages = PageService(
            lambda refused: Shell.start(paging, dialer, countries=config.countries, on_refused=refused),
            places=config.page_places,
            country=country,
        )
        self._reporter = Reporter(config.report_url, token=config.token, runner_id=config.runner_id, boot_id=boot_id)
        self._leases = Leases(
            self._pool,
            runner_id=config.runner_id,
            boot_id=boot_id,
            countries=config.countries,
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
            countries=config.countries,
        )

    async def serve(self) -> None:
        """Run until a signal. Raises JailError when no jail can be made, OSError when an address is taken."""
        # The address first: whoever has it already is this home's runner, and its jails are not leftovers.
        port = await self._gateway.start(self._config.gateway_host, self._config.gateway_port)
        for launcher in self._launchers:
            launcher.prepare()
        stop = _signals()
        self._pool.open()
        self._pages.open()
        self._reporter.start()
        await self._control.start(self._config.control_socket)
        log.info("runner %s: gateway on %s:%d", self._config.runner_id, self._config.gateway_host, port)
        try:
            gently = await stop.get()
            self._control.state = "draining"
            if gently:
                await _drained(self._leases, self._pages, stop, self._config.drain_seconds)
        finally:
            await self._end()

    async def _end(self) -> None:
        for lease_id in self._leases.ids():
            self._leases.end(lease_id, "shutdown")
        self._pool.close()
        self._pages.close()
        await self._pool.emptied()
        await self._pages.emptied()
        await self._reporter.flush(seconds=FLUSH_SECONDS)
        await self._control.close()
        self._gateway.close()
        for launcher in self._launchers:
            launcher.close()


def _boot_id() -> str:
    """Names this life of the runner. As strings, a later boot's is the greater one."""
    return f"{time.time_ns():016x}-{secrets.token_hex(4)}"


def _signals() -> asyncio.Queue[bool]:
    """A queue of stop requests: True for "when you can", False for "now"."""
    queue: asyncio.Queue[bool] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, queue.put_nowait, True)
    loop.add_signal_handler(signal.SIGINT, queue.put_nowait, False)
    return queue


async def _drained(leases: Leases, pages: PageService, stop: asyncio.Queue[bool], seconds: float) -> None:
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
