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

import uvloop

from runner.browser import Browser
from runner.config import ConfigError, RunnerConfig
from runner.control import Control
from runner.egress.dial import Dialer
from runner.gateway.server import Gateway
from runner.jail import JailError
from runner.launcher import Launcher
from runner.leases import Leases
from runner.pool import Pool
from runner.reports import Reporter

log = logging.getLogger("browsa.runner")

FLUSH_SECONDS = 2.0


async def serve(config: RunnerConfig) -> None:
    """Run until a signal. Raises JailError when no jail can be made, OSError when an address is taken."""
    launcher = Launcher(config.chromium, jailed=config.jail == "bwrap", home=config.home)
    launcher.prepare()
    dialer = Dialer(config.allow)
    country = next(iter(config.countries))
    boot_id = secrets.token_hex(8)
    pool = Pool(
        lambda: Browser.start(launcher, dialer, country=country),
        target=config.pool_size,
        limit=config.max_browsers,
    )
    reporter = Reporter(config.report_url, token=config.token, runner_id=config.runner_id, boot_id=boot_id)
    leases = Leases(pool, runner_id=config.runner_id, boot_id=boot_id, countries=config.countries, on_end=reporter.add)
    gateway = Gateway(leases.find, public_url=config.public_cdp_url, origins=config.origins)
    control = Control(
        leases,
        pool,
        runner_id=config.runner_id,
        boot_id=boot_id,
        chromium=str(config.chromium),
        countries=config.countries,
    )
    stop = _signals()
    port = await gateway.start(config.gateway_host, config.gateway_port)
    pool.open()
    reporter.start()
    await control.start(config.control_socket)
    log.info(
        "runner %s: gateway on %s:%d, control on %s",
        config.runner_id,
        config.gateway_host,
        port,
        config.control_socket,
    )
    try:
        gently = await stop.get()
        control.state = "draining"
        if gently and len(leases):
            log.info("draining: %d leases have up to %g s", len(leases), config.drain_seconds)
            await _drained(leases, stop, config.drain_seconds)
    finally:
        for lease_id in leases.ids():
            leases.end(lease_id, "shutdown")
        pool.close()
        await pool.emptied()
        await reporter.flush(seconds=FLUSH_SECONDS)
        await control.close()
        gateway.close()
        launcher.close()


def _signals() -> asyncio.Queue[bool]:
    """A queue of stop requests: True for "when you can", False for "now"."""
    queue: asyncio.Queue[bool] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, queue.put_nowait, True)
    loop.add_signal_handler(signal.SIGINT, queue.put_nowait, False)
    return queue


async def _drained(leases: Leases, stop: asyncio.Queue[bool], seconds: float) -> None:
    """Wait until no lease is left, `seconds` are over, or a second signal comes."""
    again = asyncio.create_task(stop.get())
    deadline = asyncio.get_running_loop().time() + seconds
    while len(leases) and not again.done() and asyncio.get_running_loop().time() < deadline:
        await asyncio.wait([again], timeout=0.1)
    again.cancel()


def main() -> int:
    logging.basicConfig(
        level=os.environ.get("BROWSA_LOG_LEVEL", "INFO"),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    logging.getLogger("websockets").setLevel(logging.WARNING)
    try:
        uvloop.run(serve(RunnerConfig.from_env(os.environ)))
    except (ConfigError, JailError, OSError) as error:
        log.critical("the runner does not start: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
