"""The reference pages of the detection harness in a real browser, driven as the API does it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from apps.agents.harness_checks import REALMS, SITES, judge
from apps.agents.harness_driver import HarnessError, driven
from runner.wire import HARNESS_HOST
from tests.fakes.site import Site
from tests.runner.harness import Lease, RunnerProcess

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


def readings_of(lease: Lease) -> dict[str, Any]:
    with driven(lease.cdp_url) as driver:
        driver.accept_any_certificate()
        found = {site: driver.read(f"http://{HARNESS_HOST}/{site}", "reading") for site in SITES}
        return {**found, "drawing_again": driver.read(f"http://{HARNESS_HOST}/drawing", "reading")}


async def test_every_reference_page_answers(runner: RunnerProcess) -> None:
    async with runner.lease(harness=True) as lease:
        readings = await asyncio.to_thread(readings_of, lease)

    assert set(readings["coherence"]["realms"]) == set(REALMS)
    agents = {realm["userAgent"] for realm in readings["coherence"]["realms"].values()}
    assert agents == {readings["automation"]["navigator"]["userAgent"]}
    assert {"/shared.js", "/service.js", "browsa-frame.localhost:/realm"} <= set(
        readings["coherence"]["server"]["requests"]
    )
    checks = judge(readings, measured_at=datetime.now(UTC).isoformat())
    failed = {check.name for check in checks if check.outcome == "failed"}
    assert failed.isdisjoint(
        {
            "webdriver", "headless", "driver_names", "changed_properties", "serialized_log", "realms_answered",
            "canvas_stable", "webgl_stable", "audio_stable", "fonts_stable", "tls_seen", "tls_version", "tls_alpn",
            "tls_ciphers", "http2", "user_agent", "version", "timezone", "timezone_offset",
        }
    ), failed  # fmt: skip


async def test_an_external_page_is_evaluated_after_its_load(shared: Lease, site: Site) -> None:
    def read() -> list[Any]:
        with driven(shared.cdp_url) as driver:
            return [
                driver.read(site.url("/hello"), "document.title"),
                driver.read(site.url("/hello"), "new Promise(done => setTimeout(done, 20, 0.75))"),
            ]

    assert await asyncio.to_thread(read) == ["Hello", 0.75]


@pytest.mark.parametrize("expression", ["nothing.there", "Promise.reject(new Error('no'))"])
async def test_a_script_that_fails_is_an_error(shared: Lease, site: Site, expression: str) -> None:
    def read() -> None:
        with driven(shared.cdp_url) as driver:
            driver.read(site.url("/hello"), expression)

    with pytest.raises(HarnessError, match="the script failed"):
        await asyncio.to_thread(read)


async def test_an_ordinary_lease_has_no_reference_pages(shared: Lease) -> None:
    def read() -> None:
        with driven(shared.cdp_url) as driver:
            driver.read(f"http://{HARNESS_HOST}/automation", "reading")

    with pytest.raises(HarnessError, match="net::ERR"):
        await asyncio.to_thread(read)
