"""One address for all kinds of clients, alone and together."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Playwright

from tests.fakes.report_api import ReportApi
from tests.fakes.site import Site
from tests.patience import PATIENCE
from tests.runner.client import Cdp
from tests.runner.conftest import attached
from tests.runner.harness import Lease, RunnerProcess, plain_http, until

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

NODE = Path(__file__).parents[1] / "node"
MAC = "Macintosh"

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (NODE / "node_modules").is_dir(),
    reason="no Node.js clients here: `make test` installs them where there is Node",
)


async def node(script: str, *arguments: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        "node",
        str(NODE / script),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 3 * PATIENCE)  # each of its steps has ours
    assert process.returncode == 0, err.decode()
    return dict(json.loads(out))


@pytest.mark.parametrize("address", ["cdp_url", "cdp_http"])
async def test_playwright_for_python(playwright: Playwright, shared: Lease, site: Site, address: str) -> None:
    browser = await attached(playwright, getattr(shared, address))
    page = browser.contexts[0].pages[0]
    await page.goto(site.url("/hello"))
    own = await browser.new_context()
    own.set_default_timeout(PATIENCE * 1000)
    other = await own.new_page()
    await other.goto(site.url("/hello"))

    assert await page.title() == await other.title() == "Hello"
    assert MAC in await page.evaluate("navigator.userAgent")
    assert (await page.screenshot()).startswith(b"\x89PNG")
    await own.close()
    await browser.close()


@needs_node
@pytest.mark.parametrize(
    ("script", "address"),
    [
        ("playwright.mjs", "cdp_url"),
        ("playwright.mjs", "cdp_http"),
        ("puppeteer.mjs", "cdp_url"),
        # Puppeteer asks its `browserURL` for /json/version at the root, whatever path it has: no address behind a
        # path can be one.
    ],
)
async def test_clients_for_node(shared: Lease, site: Site, script: str, address: str) -> None:
    seen = await node(script, getattr(shared, address), site.url("/hello"))

    assert (seen["title"], seen["other"]) == ("Hello", "Hello")
    assert MAC in seen["userAgent"]
    assert seen["screenshot"] > 1000


@needs_node
async def test_puppeteer_takes_the_address_that_json_version_names(shared: Lease, site: Site) -> None:
    async with plain_http() as http:
        version = (await http.get(f"{shared.cdp_http}/json/version")).json()

    assert (await node("puppeteer.mjs", version["webSocketDebuggerUrl"], site.url("/hello")))["title"] == "Hello"


async def test_browser_use(shared: Lease, site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ANONYMIZED_TELEMETRY", "BROWSER_USE_CLOUD_SYNC", "BROWSER_USE_VERSION_CHECK"):
        monkeypatch.setenv(name, "false")
    monkeypatch.setenv("BROWSER_USE_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("BROWSER_USE_SETUP_LOGGING", "false")
    for name in ("BrowserStart", "BrowserConnected", "NavigateToUrl", "AgentFocusChanged"):
        monkeypatch.setenv(f"TIMEOUT_{name}Event", str(PATIENCE))
    sessions = pytest.importorskip("browser_use.browser.session")
    session = sessions.BrowserSession(cdp_url=shared.cdp_url, keep_alive=True)
    await session.start()
    try:
        await session.navigate_to(site.url("/hello"))
        tab = await session.get_or_create_cdp_session()

        async def is_there() -> bool:
            """It navigates for a few seconds, and then says that it has."""
            answer = await tab.cdp_client.send.Runtime.evaluate(
                params={"expression": "document.title"}, session_id=tab.session_id
            )
            return (await session.get_current_page_url(), answer["result"]["value"]) == (site.url("/hello"), "Hello")

        await until(is_there, what="the page")
    finally:
        await session.stop()


async def test_a_raw_client_that_names_no_session_means_the_page(shared: Lease, site: Site) -> None:
    async with Cdp(shared.cdp_url) as cdp:
        await cdp.open(site.url("/hello"))

        assert await cdp.run("document.title") == "Hello"
        assert (await cdp.call("Page.getFrameTree"))["frameTree"]["frame"]["id"] == shared.granted.page_id


async def test_a_raw_client_that_speaks_of_targets_means_the_browser(shared: Lease) -> None:
    async with Cdp(shared.cdp_url) as cdp:
        targets = (await cdp.call("Target.getTargets"))["targetInfos"]

        assert shared.granted.page_id in [target["targetId"] for target in targets]


async def test_several_clients_drive_one_browser_at_once(playwright: Playwright, shared: Lease, site: Site) -> None:
    browser = await attached(playwright, shared.cdp_url)
    async with Cdp(shared.cdp_url) as page_level, Cdp(shared.cdp_url) as browser_level:
        await browser_level.call("Browser.getVersion")
        await page_level.open(site.url("/hello"))
        page = browser.contexts[0].pages[0]
        answers = await asyncio.gather(
            *(page.evaluate("document.title") for _ in range(20)),
            *(page_level.run("document.title") for _ in range(20)),
        )

        assert set(answers) == {"Hello"}
    await browser.close()


async def test_clients_that_leave_by_any_door_do_not_end_the_browser(
    playwright: Playwright, shared: Lease, reports: ReportApi
) -> None:
    browser = await attached(playwright, shared.cdp_url)
    await browser.close()
    async with Cdp(shared.cdp_url) as cdp:
        await cdp.run("1")
    async with Cdp(shared.cdp_url) as cdp:
        await cdp.run("1")
        cdp.socket.transport.abort()
    async with Cdp(shared.cdp_url):
        pass  # without a word

    async with Cdp(shared.cdp_url) as cdp:
        assert await cdp.run("6 * 7") == 42
    assert reports.ends(shared.id) == []


async def test_browser_close_ends_the_lease_as_closed(runner: RunnerProcess, lease: Lease, reports: ReportApi) -> None:
    async with Cdp(lease.cdp_url) as cdp:
        await cdp.call("Browser.close")

    await until(lambda: reports.ends(lease.id), what="the report")
    assert reports.ends(lease.id) == ["closed"]
    assert lease.id not in await runner.leases()


async def test_the_http_endpoints_name_addresses_that_work(shared: Lease, site: Site) -> None:
    async with plain_http() as http:
        version = (await http.get(f"{shared.cdp_http}/json/version")).json()
        listed = (await http.get(f"{shared.cdp_http}/json/list")).json()
        bare = (await http.get(f"{shared.cdp_http}/json")).json()
        made = (await http.put(f"{shared.cdp_http}/json/new?{site.url('/hello')}")).json()
        protocol = (await http.get(f"{shared.cdp_http}/json/protocol")).json()

        base = shared.cdp_url.rpartition("/ws/")[0]
        assert version["webSocketDebuggerUrl"].startswith(f"{base}/ws/browser/")
        assert shared.cdp_url in [target["webSocketDebuggerUrl"] for target in listed]
        assert [target["id"] for target in bare] == [target["id"] for target in listed]
        assert made["webSocketDebuggerUrl"] == f"{base}/ws/page/{made['id']}"
        assert "Page" in [domain["domain"] for domain in protocol["domains"]]
        assert not [line for line in json.dumps([version, listed, made]).split('"') if "/devtools/" in line]

        async with Cdp(version["webSocketDebuggerUrl"]) as cdp:
            assert (await cdp.call("Browser.getVersion"))["product"].startswith("Chrome/")
        async with Cdp(made["webSocketDebuggerUrl"]) as cdp:
            await until(lambda: cdp.holds("document.title == 'Hello'"), what="the new page")
        for what in ("activate", "close"):
            answer = await http.put(f"{shared.cdp_http}/json/{what}/{made['id']}")
            assert answer.status_code == 200
        gone = await http.get(f"{shared.cdp_http}/json/activate/NOSUCHPAGE")
        assert gone.status_code == 404


async def test_a_first_page_opens_without_the_caller_waiting(runner: RunnerProcess, site: Site) -> None:
    url = site.url("/first")
    async with runner.lease(initial_url=url) as lease:
        await until(lambda: "/first" in site.paths(), what="the first page")
        async with Cdp(lease.cdp_url) as cdp:
            await until(lambda: cdp.holds(f"location.href == {url!r}"), what="its answer")
