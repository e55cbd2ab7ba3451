"""The measured fingerprint of a lease: it is what a page of a site reads later, and its measuring leaves no trace."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Playwright

from runner.egress.own_hosts import PAGE_HOST
from tests.fakes.site import Site
from tests.runner.client import Cdp
from tests.runner.conftest import attached
from tests.runner.harness import Lease, RunnerProcess

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

READ = """async () => {
  const gl = document.createElement("canvas").getContext("webgl");
  const names = gl.getExtension("WEBGL_debug_renderer_info");
  return {
    userAgent: navigator.userAgent, platform: navigator.platform, languages: [...navigator.languages],
    hardwareConcurrency: navigator.hardwareConcurrency, timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    screen: [screen.width, screen.height, screen.availHeight, screen.colorDepth, devicePixelRatio],
    window: [outerWidth, outerHeight, innerWidth, innerHeight],
    renderer: gl.getParameter(names.UNMASKED_RENDERER_WEBGL),
  };
}"""


def as_read(document: dict[str, Any]) -> dict[str, Any]:
    navigator, screen = document["navigator"], document["screen"]
    return {
        **{name: navigator[name] for name in ("userAgent", "platform", "languages", "hardwareConcurrency", "timezone")},
        "screen": [screen[each] for each in ("width", "height", "availHeight", "colorDepth", "devicePixelRatio")],
        "window": [screen[each] for each in ("outerWidth", "outerHeight", "innerWidth", "innerHeight")],
        "renderer": document["webgl"]["renderer"],
    }


async def test_it_is_what_a_page_reads(shared: Lease, playwright: Playwright, site: Site) -> None:
    browser = await attached(playwright, shared.cdp_url)
    page = browser.contexts[0].pages[0]
    await page.goto(site.url("/hello"))

    assert await page.evaluate(READ) == as_read(shared.granted.fingerprint)
    await browser.close()


async def test_it_has_what_the_server_saw(shared: Lease) -> None:
    document = shared.granted.fingerprint

    assert document["headers"]["values"]["user-agent"] == document["navigator"]["userAgent"]
    assert document["headers"]["order"][:2] == ["Host", "Connection"]
    assert document["tls"]["alpn"][0] == "h2" and document["tls"]["ja4"].startswith("t13d")
    assert set(document["realms"]) == {"frame", "worker"}
    assert [one for one in document["coherence"]["contradictions"] if not one["listed"]] == []
    assert all(
        {"code", "realm", "expected", "seen", "listed"} == set(one) for one in document["coherence"]["contradictions"]
    )


async def test_it_leaves_no_trace(runner: RunnerProcess, site: Site) -> None:
    async with runner.lease() as lease, Cdp(lease.cdp_url) as cdp:
        history = await cdp.call("Page.getNavigationHistory")
        assert [entry["url"] for entry in history["entries"]] == ["about:blank"]
        targets = (await cdp.call("Target.getTargets"))["targetInfos"]
        assert [(target["type"], target["url"]) for target in targets if target["type"] != "tab"] == [
            ("page", "about:blank")
        ]
        assert (await cdp.call("Runtime.evaluate", {"expression": "history.length"}))["result"]["value"] == 1
        assert (await cdp.call("Storage.getCookies"))["cookies"] == []
        usage = await cdp.call("Storage.getUsageAndQuota", {"origin": f"http://{PAGE_HOST}"})
        assert usage["usage"] == 0


async def test_a_client_cannot_reach_the_measuring_pages(lease: Lease, site: Site) -> None:
    async with Cdp(lease.cdp_url) as cdp:
        answers = [
            await cdp.call("Page.navigate", {"url": url}) for url in (f"http://{PAGE_HOST}/", "http://other.localhost/")
        ]

        assert answers[0]["errorText"] == answers[1]["errorText"]  # as any other name of this machine
