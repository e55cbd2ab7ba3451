"""What `tests/runner` does on a small scale and `tests/faults/runner` on a large one."""

from __future__ import annotations

import asyncio
import contextlib
import os

from tests.runner.client import Cdp
from tests.runner.harness import Lease, RunnerProcess, descendants, status_of, until


async def come_and_go(runner: RunnerProcess, *, rounds: int) -> None:
    """Three leases at once, `rounds` times, on a runner of one's own with two warm browsers. They leave nothing."""

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{runner.pid}/fd"))

    def zombies() -> list[int]:
        found = []
        for pid in descendants(runner.pid):
            with contextlib.suppress(OSError):  # it is gone altogether
                found += [pid] if status_of(pid)["State"].startswith("Z") else []
        return found

    async def cycle() -> None:
        async with runner.lease() as lease, Cdp(lease.cdp_url) as cdp:
            await cdp.run("1")

    await cycle()
    await runner.at_rest(warm=2)
    before = descriptors()
    for _ in range(rounds):
        await asyncio.gather(cycle(), cycle(), cycle())

    await runner.at_rest(warm=2)
    # Two more for connections of the control API that are about to close.
    await until(lambda: descriptors() <= before + 2, what=f"{before} descriptors again")
    await until(lambda: not zombies(), what="the end of every zombie")


async def carry(lease: Lease, size: int) -> None:
    """A message of `size` bytes in each direction."""
    async with Cdp(lease.cdp_url) as cdp:
        # What Chromium ignores it need not parse twice: this is about the way there.
        assert "frameTree" in await cdp.call("Page.getFrameTree", {"ignored": "x" * size})
        assert len(await cdp.run(f"'y'.repeat({size})")) == size
