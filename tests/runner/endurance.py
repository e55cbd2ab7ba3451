"""What `tests/runner` does on a small scale and `tests/faults/runner` on a large one."""

from __future__ import annotations

from tests.runner.client import Cdp
from tests.runner.harness import Lease


async def carry(lease: Lease, size: int) -> None:
    """A message of `size` bytes in each direction."""
    async with Cdp(lease.cdp_url) as cdp:
        # What Chromium ignores it need not parse twice: this is about the way there.
        assert "frameTree" in await cdp.call("Page.getFrameTree", {"ignored": "x" * size})
        assert len(await cdp.run(f"'y'.repeat({size})")) == size
