"""Clients are held until a window has its identity, but not for what will never be ready."""

from __future__ import annotations

import time

import pytest

from runner.gateway.server import HOLD_SECONDS
from tests.fakes.site import Site
from tests.runner.client import Cdp
from tests.runner.harness import Lease, RunnerProcess, in_time, until

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


async def test_a_frame_that_goes_before_it_is_ready_delays_no_client(lease: Lease, site: Site) -> None:
    """Chromium answers nothing more of what it was asked about such a frame."""

    async def crowd() -> float:
        async with Cdp(lease.cdp_url) as cdp:
            await cdp.open(site.url("/hello"))
            await cdp.run(
                f"""new Promise(done => {{ for (let n = 0; n < 20; n++) {{
                  const frame = document.createElement("iframe");
                  frame.src = {site.url("/portrait", host="localhost")!r};
                  document.body.append(frame);
                  setTimeout(() => {{ frame.remove(); if (n === 19) done(); }}, 2 * n);
                }} }})"""
            )
            began = time.monotonic()
            async with Cdp(lease.cdp_url) as second:
                assert await second.run("navigator.platform") == "MacIntel"
                return time.monotonic() - began

    await in_time(HOLD_SECONDS, crowd)


async def test_news_of_a_service_worker_is_not_kept_until_its_client_lets_it_run(
    runner: RunnerProcess, site: Site
) -> None:
    async def register() -> float:
        async with runner.lease() as lease, Cdp(lease.cdp_url) as cdp:
            page = await cdp.attach(lease.granted.page_id)
            await cdp.open(site.url("/hello"), session=page)
            every = {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True}
            await cdp.call("Target.setAutoAttach", every)

            await cdp.run("void navigator.serviceWorker.register('/portrait.js')", session=page)

            began = time.monotonic()
            await until(lambda: attached_to_a_service_worker(cdp), what="the news")
            return time.monotonic() - began

    def attached_to_a_service_worker(cdp: Cdp) -> bool:
        news = [event["params"] for event in cdp.events if event["method"] == "Target.attachedToTarget"]
        return any(params["targetInfo"]["type"] == "service_worker" for params in news)

    await in_time(HOLD_SECONDS / 2, register)
