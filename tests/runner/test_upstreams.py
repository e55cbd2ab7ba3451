"""Browsers and quick pages that leave through upstream proxies: exits, sessions, failures."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from runner.egress.upstreams import session_of
from runner.wire import PageFailure, PageResult
from tests.core.outgoing.certificates import signed_for
from tests.fakes.site import Site
from tests.fakes.upstream_proxy import UpstreamProxy
from tests.runner.asking import ask, fetch
from tests.runner.client import Cdp
from tests.runner.harness import Refused, RunnerProcess, until

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

CHROMIUMS_OWN = ("google.com", "googleapis.com", "gvt1.com")


@dataclass
class Exits:
    """A runner with three countries: `de` leaves through two proxies, `fr` through one inside TLS, `us` directly."""

    runner: RunnerProcess
    german: list[UpstreamProxy]
    french: UpstreamProxy

    def sites(self) -> list[str]:
        """What the pages made the browser ask the proxies for: neither probes nor what Chromium requests by itself."""
        asked = [target for proxy in (*self.german, self.french) for target in proxy.asked]
        return [target for target in asked if not target.partition(":")[0].endswith((".invalid", *CHROMIUMS_OWN))]

    def forget(self) -> None:
        for proxy in (*self.german, self.french):
            proxy.asked.clear()
            proxy.logins.clear()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def started(site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Exits]:
    folder: Path = tmp_path_factory.mktemp("authority")
    server, _client = signed_for("127.0.0.1", folder)
    async with (
        UpstreamProxy("http", user="*") as one,
        UpstreamProxy("socks5", user="*") as two,
        UpstreamProxy("https", user="me", password="p@ss", certificate=server) as three,
    ):
        for proxy in (one, two, three):
            proxy.destination = ("127.0.0.1", site.port)
        countries = {
            "us": "direct",
            "de": [proxy.url_with("user-session-{session}:pw") for proxy in (one, two)],
            "fr": three.url,
        }
        process = RunnerProcess(
            BROWSA_POOL_SIZE="1",
            BROWSA_MAX_BROWSERS="3",
            EGRESS_COUNTRIES=json.dumps(countries),
            SSL_CERT_FILE=str(folder / "127.0.0.1.pem"),
        )
        try:
            yield Exits(await process.start().ready(), [one, two], three)
        finally:
            process.clean()


@pytest_asyncio.fixture(loop_scope="session")
async def exits(started: Exits) -> Exits:
    async def all_work() -> bool:
        return all(country.healthy == country.upstreams for country in (await started.runner.status()).egress)

    await until(all_work, what="working upstreams")
    started.forget()
    return started


async def opened(cdp: Cdp, url: str) -> str | None:
    """Navigate; the error, if there is one."""
    answer = await cdp.call("Page.navigate", {"url": url})
    return answer.get("errorText")


@pytest.mark.parametrize("country", ["de", "fr"])
async def test_a_browser_leaves_through_its_countrys_proxy_which_resolves_the_names(
    exits: Exits, site: Site, country: str
) -> None:
    seen = len(site.requests)
    async with exits.runner.lease(country=country) as lease, Cdp(lease.cdp_url) as cdp:
        assert await opened(cdp, "http://far.example/hello") is None
        assert await opened(cdp, "http://second.example/hello") is None

    assert set(exits.sites()) == {"far.example:80", "second.example:80"}
    hosts = [request.headers["host"] for request in site.requests[seen:] if request.path == "/hello"]
    assert hosts == ["far.example", "second.example"]


async def test_a_browser_keeps_its_exit_and_its_session(exits: Exits) -> None:
    async with exits.runner.lease(country="de") as lease, Cdp(lease.cdp_url) as cdp:
        for number in range(4):
            assert await opened(cdp, f"http://site-{number}.example/hello") is None

    used = [proxy for proxy in exits.german if proxy.asked]
    assert len(used) == 1
    assert set(used[0].logins) == {(f"user-session-{session_of(lease.id)}", "pw")}


async def test_inner_addresses_are_refused_before_the_proxy_is_asked(exits: Exits, site: Site) -> None:
    seen = len(site.requests)
    async with exits.runner.lease(country="de") as lease, Cdp(lease.cdp_url) as cdp:
        for host in ("127.0.0.1", "[::1]", "10.0.0.1", "localhost", "metadata.google.internal", "2130706433"):
            assert await opened(cdp, f"http://{host}:{site.port}/hello") == "net::ERR_SOCKS_CONNECTION_FAILED"

    assert exits.sites() == []
    assert len(site.requests) == seen


async def test_a_browser_whose_proxy_fails_takes_the_other_one_and_returns_to_its_own(exits: Exits) -> None:
    async with exits.runner.lease(country="de") as lease, Cdp(lease.cdp_url) as cdp:
        assert await opened(cdp, "http://a.example/hello") is None
        mine, other = sorted(exits.german, key=lambda proxy: not proxy.asked)
        await mine.down()
        try:
            assert await opened(cdp, "http://b.example/hello") is None
            assert "b.example:80" in other.asked
            (german, _french) = (await exits.runner.status()).egress
            assert (german.country, german.upstreams, german.healthy) == ("de", 2, 1)
            assert german.faults == [f"{mine.kind}://127.0.0.1:{mine.port}: it refuses connections"]
        finally:
            await mine.up()

        async def works_again() -> bool:
            return (await exits.runner.status()).egress[0].healthy == 2

        await until(works_again, what="the end of the rest")
        assert await opened(cdp, "http://c.example/hello") is None
        assert "c.example:80" in mine.asked


async def test_quick_pages_leave_through_the_proxy_each_with_a_session_of_its_own(exits: Exits, site: Site) -> None:
    script = '<!doctype html><title>Far</title><img src="http://img.example/hello">'
    site.pages["/far"] = lambda query: (200, {"Content-Type": "text/html"}, script.encode())

    pages = [await fetch(exits.runner, "http://far.example/far", country="de") for _ in range(3)]

    assert [page.title for page in pages] == ["Far"] * 3
    assert set(exits.sites()) == {"far.example:80", "img.example:80"}
    logins = [login for proxy in exits.german for login in proxy.logins]
    assert len(logins) >= 6 and len(set(logins)) == 3
    assert isinstance(await ask(exits.runner, "http://far.example/hello", country="fr"), PageResult)


async def test_a_page_that_the_proxy_does_not_reach_fails_and_names_the_country(exits: Exits) -> None:
    exits.french.answer = b"HTTP/1.1 502 Bad Gateway\r\n\r\n"
    try:
        answer = await ask(exits.runner, "http://far.example/hello", country="fr")
    finally:
        exits.french.answer = None

    assert isinstance(answer, PageFailure) and answer.failure == "unreachable"
    assert answer.message.startswith("net::ERR_TUNNEL_CONNECTION_FAILED, country fr: ")
    assert (await exits.runner.status()).egress[1].healthy == 1


async def test_a_country_whose_proxies_are_down_is_refused_by_name_and_nothing_leaves_directly(
    exits: Exits, site: Site
) -> None:
    seen = len(site.requests)
    async with exits.runner.lease(country="fr") as lease, Cdp(lease.cdp_url) as cdp:
        await exits.french.down()
        try:
            first = await ask(exits.runner, "http://far.example/hello", country="fr")
            assert isinstance(first, PageFailure) and first.failure == "unreachable"
            assert first.message.startswith("net::ERR_PROXY_CONNECTION_FAILED, country fr: ")
            assert await opened(cdp, "http://far.example/hello") == "net::ERR_SOCKS_CONNECTION_FAILED"
            with pytest.raises(Refused) as refused:
                await exits.runner.grant(country="fr")
            wanted = {"url": "http://far.example/", "os_family": "macos", "country": "fr", "formats": []}
            page = await exits.runner.request("POST", "/pages", json=wanted)
        finally:
            await exits.french.up()

    message = "no upstream proxy of country fr works"
    assert (refused.value.status, refused.value.code) == (502, "no_egress") and message in str(refused.value)
    assert (page.status_code, page.json()) == (502, {"code": "no_egress", "message": message})
    assert len(site.requests) == seen


async def test_the_log_has_no_credentials(exits: Exits) -> None:
    await fetch(exits.runner, "http://far.example/hello", country="de")

    log = exits.runner.log()
    assert "user-session" not in log and "p@ss" not in log and "p%40ss" not in log
