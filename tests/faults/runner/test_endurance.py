"""Many leases on one runner, and the largest messages that Chromium takes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os

import pytest
from websockets import ConnectionClosed

from runner.gateway.server import MAX_FRAME, TOO_LONG
from runner.identity.launch import Launch
from tests.patience import PATIENCE
from tests.runner.client import Cdp, CdpRefused
from tests.runner.endurance import carry
from tests.runner.harness import RunnerProcess, descendants, status_of, until
from tests.runner.peers.pair import direct_chromium

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


async def test_leases_that_come_and_go_leave_no_descriptor_and_no_process(private: RunnerProcess) -> None:
    """Three leases at once, several times, leave nothing."""

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{private.pid}/fd"))

    def zombies() -> list[int]:
        found = []
        for pid in descendants(private.pid):
            with contextlib.suppress(OSError):  # it is gone altogether
                found += [pid] if status_of(pid)["State"].startswith("Z") else []
        return found

    async def cycle() -> None:
        async with private.lease() as lease, Cdp(lease.cdp_url) as cdp:
            await cdp.run("1")

    await cycle()
    await private.at_rest(warm=2)
    before = descriptors()
    for _ in range(5):
        await asyncio.gather(cycle(), cycle(), cycle())

    await private.at_rest(warm=2)
    # Two more for connections of the control API that are about to close.
    await until(lambda: descriptors() <= before + 2, what=f"{before} descriptors again")
    await until(lambda: not zombies(), what="the end of every zombie")


async def test_frames_pass_up_to_the_length_that_chromium_takes(private: RunnerProcess) -> None:
    async with private.lease() as lease, direct_chromium(Launch()) as direct:
        for url in (lease.cdp_url, direct):
            assert await end_of_a_frame(url, MAX_FRAME) is None
        # Chromium says nothing when it hangs up.
        assert (await end_of_a_frame(direct, MAX_FRAME + 1) or (0, ""))[1] == ""
        for length in (MAX_FRAME + 1, 120_000_000):
            assert await end_of_a_frame(lease.cdp_url, length) == (1009, TOO_LONG)

        await carry(lease, 1000)  # the browser goes on


async def end_of_a_frame(url: str, length: int) -> tuple[int | None, str | None] | None:
    """Code and reason of a connection's end after one frame of `length` bytes; None when Chromium answers it."""
    command = {"id": 1, "method": "Target.getTargets", "params": {"ignored": ""}}
    ignored = "x" * (length - len(json.dumps(command)))
    async with Cdp(url, close_timeout=PATIENCE) as cdp:
        try:
            await cdp.call("Target.getTargets", {"ignored": ignored})
        except (ConnectionClosed, CdpRefused):
            await asyncio.wait_for(cdp.socket.wait_closed(), PATIENCE)
            return cdp.socket.close_code, cdp.socket.close_reason
    return None


async def test_a_hundred_megabytes_pass_in_both_directions_and_are_kept_nowhere(private: RunnerProcess) -> None:
    async with private.lease() as lease:
        await carry(lease, 100_000_000)

    assert int(status_of(private.pid)["VmHWM"].split()[0]) < 250 * 1024  # kB
