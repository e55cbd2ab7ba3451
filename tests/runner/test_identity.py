"""What a site sees of an identity: the same everywhere, from the first script on, while a client is attached."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Playwright

from fingerprints import draw
from runner.gateway.server import HOLD_SECONDS
from runner.wire import OsFamily
from tests.fakes.site import SELF_PORTRAIT, Site, html
from tests.patience import PATIENCE
from tests.runner.client import Cdp
from tests.runner.conftest import attached
from tests.runner.harness import Lease, RunnerProcess, in_time, until

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


@dataclass(frozen=True)
class Expected:
    family: OsFamily
    country: str
    user_agent: str
    platform: str
    hint: str
    languages: list[str]
    timezone: str
    number: str
    locale: str  # of `Intl`, as a Chrome in that language has it
    screen: tuple[int, ...] = ()
    cores: int = 0

    def portrait(self, *, worker: bool = False) -> dict[str, Any]:
        """What of a portrait must be so, in a page or in a worker."""
        expected: dict[str, Any] = {
            "languages": self.languages,
            "language": self.languages[0],
            "timezone": self.timezone,
            "locale": self.locale,
            "number": self.number,
            "cores": self.cores,
            "online": True,
        }
        # Chromium has no emulation for a worker's navigator.platform.
        return (
            expected
            if worker
            else expected | {"platform": self.platform, "screen": list(self.screen), "webdriver": False}
        )


IDENTITIES = [
    Expected(
        "macos", "us", "Macintosh; Intel Mac OS X 10_15_7", "MacIntel", "macOS",
        ["en-US", "en"], "America/New_York", "1,234.5", "en-US",
    ),
    Expected(
        "windows", "de", "Windows NT 10.0; Win64; x64", "Win32", "Windows",
        ["de-DE", "de", "en-US", "en"], "Europe/Berlin", "1.234,5", "de",
    ),
    Expected(
        "linux", "us", "X11; Linux x86_64", "Linux x86_64", "Linux",
        ["en-US", "en"], "America/New_York", "1,234.5", "en-US",
    ),
]  # fmt: skip


@pytest_asyncio.fixture(
    scope="module", loop_scope="session", params=IDENTITIES, ids=lambda e: f"{e.family}-{e.country}"
)
async def leased(request: pytest.FixtureRequest, runner: RunnerProcess) -> AsyncIterator[tuple[Expected, Lease]]:
    expected: Expected = request.param
    async with runner.lease(os_family=expected.family, country=expected.country) as lease:
        drawn = draw(
            seed=lease.granted.seed,
            os_family=expected.family,
            country=expected.country,
            chromium_version="156.0.0.0",  # the rest does not depend on it
        )
        size = (drawn.display.width, drawn.display.height, drawn.display.scale)
        yield dataclasses.replace(expected, screen=size, cores=drawn.cores), lease


@pytest.fixture
def expected(leased: tuple[Expected, Lease]) -> Expected:
    return leased[0]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser(leased: tuple[Expected, Lease], playwright: Playwright) -> AsyncIterator[Browser]:
    """Playwright, attached to everything: its own sessions must not undo the identity."""
    browser = await attached(playwright, leased[1].cdp_url)
    yield browser
    await browser.close()


def assert_coherent(expected: Expected, seen: dict[str, Any], *, worker: bool = False) -> None:
    wanted = expected.portrait(worker=worker)
    assert {name: seen[name] for name in wanted} == wanted
    assert expected.user_agent in seen["userAgent"]
    assert "Headless" not in json.dumps(seen)
    assert seen["hints"]["platform"] == expected.hint
    assert "Google Chrome" in [brand["brand"] for brand in seen["hints"]["brands"]]


def assert_headers(expected: Expected, headers: dict[str, str]) -> None:
    assert expected.user_agent in headers["user-agent"]
    assert headers["accept-language"].split(",")[0] == expected.languages[0]
    assert headers["sec-ch-ua-platform"] == f'"{expected.hint}"'
    assert "Google Chrome" in headers["sec-ch-ua"]
    assert "Headless" not in json.dumps(headers)


async def test_the_first_page(expected: Expected, browser: Browser, site: Site) -> None:
    page = browser.contexts[0].pages[0]
    await page.goto(site.url("/portrait"))

    assert_coherent(expected, await page.evaluate("seen"))
    assert_headers(expected, site.last("/portrait").headers)
    assert list(site.last("/portrait").headers)[-1] == "accept-language"  # as Chrome sends it over HTTP/1.1


async def test_a_page_keeps_it_on_another_site_and_in_another_process(
    expected: Expected, browser: Browser, site: Site
) -> None:
    page = browser.contexts[0].pages[0]
    for host in ("127.0.0.1", "localhost", "127.0.0.1"):
        await page.goto(site.url("/portrait", host=host))
        assert_coherent(expected, await page.evaluate("seen"))


async def test_a_new_page(expected: Expected, browser: Browser, site: Site) -> None:
    page = await browser.contexts[0].new_page()
    await page.goto(site.url("/portrait"))

    assert_coherent(expected, await page.evaluate("seen"))
    await page.close()


async def test_a_new_context(expected: Expected, browser: Browser, site: Site) -> None:
    context = await browser.new_context()
    context.set_default_timeout(PATIENCE * 1000)
    page = await context.new_page()
    await page.goto(site.url("/portrait"))
    seen = await page.evaluate("seen")
    # The screen of a context is its client's: Playwright emulates a viewport of its own there.
    seen["screen"] = list(expected.screen)

    assert_coherent(expected, seen)
    assert_headers(expected, site.last("/portrait").headers)
    await context.close()


async def test_a_popup(expected: Expected, browser: Browser, site: Site) -> None:
    page = browser.contexts[0].pages[0]
    await page.goto(site.url("/hello"))
    async with page.expect_popup() as popup:
        await page.evaluate(f"void window.open({site.url('/portrait')!r})")
    opened: Page = await popup.value
    await opened.wait_for_load_state()

    assert_coherent(expected, await opened.evaluate("seen"))
    await opened.close()


async def test_a_popup_without_an_address_before_its_opener_goes_on(
    expected: Expected, browser: Browser, site: Site
) -> None:
    page = browser.contexts[0].pages[0]
    await page.goto(site.url("/hello"))

    seen = await page.evaluate(
        f"""() => {{ const w = window.open(); const seen = w.eval({(SELF_PORTRAIT + "; portrait()")!r}); w.close();
        return seen; }}"""
    )

    assert_coherent(expected, seen)


# It tells the site what its first script sees.
TELLTALE = f"""<!doctype html><title>Telltale</title><script>{SELF_PORTRAIT}
  fetch("/told?seen=" + encodeURIComponent(JSON.stringify(portrait())));</script>"""

OPENERS = {
    "a link to a new tab": "Object.assign(document.createElement('a'), {href, target: '_blank'}).click()",
    "a window without an opener": "void open(href, '_blank', 'noopener')",
    "a form to a new tab": "{ const form = document.createElement('form'); form.action = href; form.target = '_blank';"
    " form.rel = 'noopener'; document.body.append(form); form.submit(); }",
}


@pytest.mark.parametrize("attaching", [True, False], ids=["attaching by itself", "not attaching"])
@pytest.mark.parametrize("way", OPENERS)
async def test_a_page_that_has_no_renderer_until_it_runs(
    expected: Expected, leased: tuple[Expected, Lease], site: Site, way: str, attaching: bool
) -> None:
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def take(query: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        loop.call_soon_threadsafe(told.put_nowait, json.loads(query["seen"]))
        return html("thanks")

    async def open_one() -> float:
        async with Cdp(leased[1].cdp_url) as cdp:
            await cdp.call("Target.setDiscoverTargets", {"discover": True})
            if attaching:
                waits = {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": True}
                await cdp.call("Target.setAutoAttach", waits)
            page = await cdp.attach(leased[1].granted.page_id)
            await cdp.open(site.url("/hello"), session=page)
            click = f"{{ const href = {site.url('/telltale')!r}; {OPENERS[way]} }}"
            await cdp.call("Runtime.evaluate", {"expression": click, "userGesture": True}, session=page)

            began = time.monotonic()
            seen = await asyncio.wait_for(told.get(), PATIENCE)
            took = time.monotonic() - began

            assert_coherent(expected, seen)
            targets = (await cdp.call("Target.getTargets"))["targetInfos"]
            for opened in [
                one for one in targets if one["type"] == "page" and one["targetId"] != leased[1].granted.page_id
            ]:
                await cdp.call("Target.closeTarget", {"targetId": opened["targetId"]})
        return took

    site.pages.update({"/telltale": lambda query: html(TELLTALE), "/told": take})
    await in_time(HOLD_SECONDS - 1, open_one)


async def test_a_cross_site_frame(expected: Expected, browser: Browser, site: Site) -> None:
    page = browser.contexts[0].pages[0]
    await page.goto(site.url(f"/frame?src={site.url('/portrait', host='localhost')}"))

    assert_coherent(expected, await page.frames[1].evaluate("seen"))
    assert_headers(expected, site.last("/portrait").headers)


async def test_a_dedicated_worker(expected: Expected, browser: Browser, site: Site) -> None:
    page = browser.contexts[0].pages[0]
    await page.goto(site.url("/hello"))

    seen = await page.evaluate(
        """() => new Promise(done => { const w = new Worker("/portrait.js"); w.onmessage = e => done(e.data);
        w.postMessage(1); })"""
    )

    assert_coherent(expected, seen, worker=True)
    headers = site.last("/portrait.js").headers  # Chromium sends no client hints for a worker's script
    assert expected.user_agent in headers["user-agent"]
    assert headers["accept-language"].split(",")[0] == expected.languages[0]


IN_SERVICE_WORKER = """async () => {
  const registration = await navigator.serviceWorker.register("/portrait.js");
  const worker = (await navigator.serviceWorker.ready).active;
  const channel = new MessageChannel();
  const answer = new Promise(done => { channel.port1.onmessage = event => done(event.data); });
  worker.postMessage("go", [channel.port2]);
  const seen = await answer;
  await registration.unregister();
  return seen;
}"""


async def test_a_service_worker(expected: Expected, browser: Browser, site: Site) -> None:
    page = browser.contexts[0].pages[0]
    await page.goto(site.url("/hello"))

    seen = await page.evaluate(IN_SERVICE_WORKER)

    assert_coherent(expected, seen, worker=True)
    assert expected.user_agent in site.last("/portrait.js").headers["user-agent"]


async def test_a_shared_worker(expected: Expected, browser: Browser, site: Site) -> None:
    page = browser.contexts[0].pages[0]
    await page.goto(site.url("/hello"))
    site.pages["/shared.js"] = lambda query: (
        200,
        {"Content-Type": "text/javascript"},
        f"{SELF_PORTRAIT}; onconnect = event => event.ports[0].postMessage(portrait())".encode(),
    )

    seen = await page.evaluate(
        """() => new Promise(done => { new SharedWorker("/shared.js").port.onmessage = event => done(event.data); })"""
    )

    assert_coherent(expected, seen, worker=True)


async def test_the_browser_tells_its_own_user_agent(expected: Expected, leased: tuple[Expected, Lease]) -> None:
    """Playwright chooses the key of its shortcuts by it."""
    async with Cdp(leased[1].cdp_url) as cdp:
        assert expected.user_agent in (await cdp.call("Browser.getVersion"))["userAgent"]


async def test_a_clients_own_time_zone_and_locale_win(expected: Expected, browser: Browser, site: Site) -> None:
    context = await browser.new_context(timezone_id="Asia/Tokyo", locale="fr-FR")
    context.set_default_timeout(PATIENCE * 1000)
    page = await context.new_page()
    await page.goto(site.url("/portrait"))
    mine = {"timezone": "Asia/Tokyo", "locale": "fr-FR", "language": "fr-FR", "number": "1\u202f234,5"}

    for host in ("127.0.0.1", "localhost"):
        await page.goto(site.url("/portrait", host=host))
        seen = await page.evaluate("seen")
        assert {name: seen[name] for name in mine} == mine
    seen = await page.evaluate(
        """() => new Promise(done => { const w = new Worker("/portrait.js"); w.onmessage = e => done(e.data);
        w.postMessage(1); })"""
    )
    assert (seen["timezone"], seen["number"]) == (mine["timezone"], mine["number"])
    assert site.last("/portrait").headers["accept-language"].startswith("fr-FR")
    await context.close()


async def test_a_raw_clients_own_time_zone_and_locale_win(leased: tuple[Expected, Lease], site: Site) -> None:
    async with Cdp(leased[1].cdp_url) as cdp:
        page = await cdp.new_page()
        await cdp.call("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Tokyo"}, session=page)
        await cdp.call("Emulation.setLocaleOverride", {"locale": "fr_FR"}, session=page)
        for host in ("127.0.0.1", "localhost"):
            await cdp.open(site.url("/portrait", host=host), session=page)
            seen = await cdp.run("seen", session=page)
            assert (seen["timezone"], seen["number"]) == ("Asia/Tokyo", "1\u202f234,5")


async def test_what_a_site_may_ask_of_the_device(expected: Expected, browser: Browser, site: Site) -> None:
    page = await browser.contexts[0].new_page()  # Chromium does not keep the window's size of a tab behind others
    await page.goto(site.url("/hello"))

    seen = await page.evaluate(
        """async () => ({
          pointer: ["(pointer: fine)", "(any-pointer: fine)", "(hover: hover)", "(any-hover: hover)"].map(
            query => matchMedia(query).matches),
          permissions: await Promise.all(["geolocation", "notifications"].map(
            async name => (await navigator.permissions.query({name})).state)),
          window: [outerWidth === screen.availWidth, outerHeight === screen.availHeight, innerWidth === outerWidth],
          roundTrip: navigator.connection.rtt > 0,
          emoji: (context => { context.font = "40px sans-serif"; context.fillText(String.fromCodePoint(0x1F600), 0, 40);
            return context.getImageData(0, 0, 50, 50).data.some((value, at) => at % 4 < 3 && value > 0); })(
            document.createElement("canvas").getContext("2d")),
        })"""
    )

    assert seen == {
        "pointer": [True] * 4,
        "permissions": ["prompt"] * 2,
        "window": [True] * 3,
        "roundTrip": True,
        "emoji": True,
    }
    await page.close()


FONTS = {
    "macos": ["Arial", "Helvetica Neue", "Times New Roman", "Courier New"],
    "windows": ["Arial", "Segoe UI", "Calibri", "Times New Roman"],
    "linux": ["DejaVu Sans", "Liberation Sans"],
}


async def test_the_fonts_of_the_family(expected: Expected, browser: Browser, site: Site) -> None:
    page = browser.contexts[0].pages[0]
    await page.goto(site.url("/hello"))

    wide = await page.evaluate(
        """names => { const context = document.createElement("canvas").getContext("2d");
        const width = font => { context.font = `72px ${font}`; return context.measureText("mmmmmmmmmmlli").width; };
        return names.filter(name => width(`"${name}", monospace`) !== width("monospace")); }""",
        [*FONTS[expected.family], "No Such Font"],
    )

    expected_names = FONTS[expected.family]
    assert [name for name in wide if name not in ("Courier New",)] == [n for n in expected_names if n != "Courier New"]


async def test_the_hints_that_a_site_asks_for(expected: Expected, browser: Browser, site: Site) -> None:
    page = browser.contexts[0].pages[0]
    await page.goto(site.url("/hello"))

    hints = await page.evaluate(
        """() => navigator.userAgentData.getHighEntropyValues(["architecture", "bitness", "fullVersionList", "model",
        "platformVersion", "uaFullVersion", "wow64", "formFactors"])"""
    )

    assert hints["platform"] == expected.hint
    assert hints["bitness"] == "64"
    assert hints["mobile"] is False
    assert hints["model"] == ""
    full = {brand["brand"]: brand["version"] for brand in hints["fullVersionList"]}
    assert full["Chromium"] == full["Google Chrome"] == hints["uaFullVersion"]
    assert [b["brand"] for b in hints["brands"]] == [b["brand"] for b in hints["fullVersionList"]]
    assert f"Chrome/{full['Chromium'].partition('.')[0]}.0.0.0" in await page.evaluate("navigator.userAgent")


async def test_it_is_there_before_the_first_inline_script_of_every_page(
    expected: Expected, browser: Browser, site: Site
) -> None:
    """Several tabs at once, each navigating at once: the emulation must never come second."""
    first = browser.contexts[0].pages[0]
    await first.goto(site.url("/hello"))
    site.pages["/early"] = lambda query: html(f"<script>{SELF_PORTRAIT} opener.postMessage(portrait(), '*')</script>")

    seen = await first.evaluate(
        f"""() => new Promise(done => {{
          const seen = [], windows = [];
          onmessage = event => {{ seen.push(event.data); if (seen.length === 6) {{
            windows.forEach(w => w.close()); done(seen); }} }};
          for (let n = 0; n < 6; n++) windows.push(window.open({site.url("/early")!r}));
        }})"""
    )

    for portrait in seen:
        assert_coherent(expected, portrait)


async def test_a_clients_own_user_agent_wins(expected: Expected, browser: Browser, site: Site) -> None:
    context = await browser.new_context(user_agent="Mine/1.0")
    context.set_default_timeout(PATIENCE * 1000)
    page = await context.new_page()
    await page.goto(site.url("/portrait"))
    await page.goto(site.url("/portrait", host="localhost"))
    seen = await page.evaluate("seen")

    assert seen["userAgent"] == "Mine/1.0"
    assert site.last("/portrait").headers["user-agent"] == "Mine/1.0"
    await context.close()


async def test_leaving_clients_take_nothing_with_them(
    expected: Expected, leased: tuple[Expected, Lease], site: Site
) -> None:
    """Nothing but, for a moment after one that was attached beside others left, the platform: see `restate`."""
    for _ in range(2):
        async with Cdp(leased[1].cdp_url) as cdp:
            for host in ("127.0.0.1", "localhost"):
                await cdp.open(site.url("/portrait", host=host))
                assert_coherent(expected, await cdp.run("seen"), worker=True)


# Looks at its platform in one task after another, and keeps what it saw.
WATCHFUL = """<script>
  const seen = new Set(), channel = new MessageChannel();
  channel.port1.onmessage = () => { seen.add(navigator.platform); channel.port2.postMessage(0); };
  channel.port2.postMessage(0);
</script>"""


async def test_clients_that_come_and_leave_other_pages_are_not_noticed(
    expected: Expected, leased: tuple[Expected, Lease], site: Site
) -> None:
    site.pages["/watchful"] = lambda query: html(WATCHFUL)
    async with Cdp(leased[1].cdp_url) as cdp:
        watchful = await cdp.new_page()
        await cdp.open(site.url("/watchful"), session=watchful)
        target = (await cdp.call("Target.getTargetInfo", session=watchful))["targetInfo"]["targetId"]
        await cdp.run("seen.clear()", session=watchful)

        for _ in range(10):
            await cdp.attach(target)
            other = await cdp.call("Target.createTarget", {"url": "about:blank"})
            await cdp.attach(other["targetId"])
            await cdp.call("Target.closeTarget", other)
        seen = await until(lambda: cdp.run("[...seen]", session=watchful), what="a look")
        await cdp.call("Target.closeTarget", {"targetId": target})

    assert seen == [expected.platform]
