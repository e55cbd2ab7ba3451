"""A Python program in a real jail instead of Chromium: started, limited and ended as a runner does it."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from pathlib import Path

import pytest

from runner import jail
from runner.cgroups import DEFAULT_LIMITS, Cgroups, Limits
from runner.chromium import Chromium
from runner.jail_limits import JailLimiter
from runner.launcher import _exit_of
from runner.netns import SocketFactory
from runner.uids import Uids
from tests.patience import PATIENCE

PYTHON = Path("/usr/bin/python3")  # what the jail shows of the host is below /usr
MARKER = jail.marker_of(Path("/srv/browsa/home"))

# The uid that the kernel sees: of the jail's own, or that of the runner.
uids = pytest.mark.parametrize(
    "own_uid",
    [
        pytest.param(True, marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can give away uids")),
        False,
    ],
    ids=["own uid", "runner's uid"],
)
needs_python = pytest.mark.skipif(not PYTHON.exists(), reason=f"the program in the jail runs with {PYTHON}")


async def run_inside(
    program: str, *, own_uid: bool, cgroups: Cgroups | None = None, limits: Limits = DEFAULT_LIMITS
) -> tuple[int, bytes]:
    """The exit status of a Python `program`, and what it wrote to descriptor 4."""
    allocator, factory = Uids(), SocketFactory()
    limiter = JailLimiter(factory, cgroups, limits)
    spec = jail.JailSpec(Path("/usr/lib"), MARKER, allocator.take() if own_uid else None, {"TZ": "Europe/Berlin"})
    read, write = os.pipe()
    jailed = jail.start(spec, jail.gated([str(PYTHON), "-IS", "-c", program]), stderr=write)
    os.close(write)
    assert jailed.process.stdout is not None
    browser = Chromium(jailed.process, _exit_of(jailed.process), factory, deque())
    try:
        await asyncio.wait_for(limiter.apply(browser, jailed.init, own_uid=own_uid), PATIENCE)
        said = await asyncio.wait_for(asyncio.to_thread(jailed.process.stdout.read), PATIENCE)
        return await asyncio.wait_for(browser.gone, PATIENCE), said
    finally:
        browser.kill()
        await browser.gone
        browser.release()
        if browser.cgroup is not None:
            limiter.remove_group(browser.cgroup)
        limiter.close()
        factory.close()
        with open(read, errors="replace") as words:
            print(words.read())  # pytest shows it with a failure
        allocator.close()
