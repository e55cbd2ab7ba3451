"""Many leases on one runner, and the largest messages that Chromium takes."""

from __future__ import annotations

import pytest

from tests.runner.endurance import carry, come_and_go
from tests.runner.harness import RunnerProcess

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


async def test_leases_that_come_and_go_leave_no_descriptor_and_no_process(private: RunnerProcess) -> None:
    await come_and_go(private, rounds=5)


async def test_a_hundred_megabytes_pass_in_both_directions(private: RunnerProcess) -> None:
    async with private.lease() as lease:
        await carry(lease, 100_000_000)  # Chromium itself takes at most 100 MiB
