"""What a leased browser downloads, wherever its clients tell it to."""

from __future__ import annotations

import pytest
from playwright.async_api import Playwright

from runner.jail import HOME, TEMPORARY
from runner.wire import Download, DownloadList
from tests.fakes.site import Site
from tests.runner.client import Cdp
from tests.runner.conftest import attached
from tests.runner.harness import Lease, RunnerProcess, until

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

LOOT = b"loot" * 64


async def listed(lease: Lease) -> list[Download]:
    answer = await lease.runner.request("GET", f"/leases/{lease.id}/downloads")
    assert answer.status_code == 200
    return DownloadList.from_json(answer.content).downloads


async def complete(lease: Lease, count: int) -> list[Download]:
    async def are_there() -> list[Download]:
        found = await listed(lease)
        return found if [one.state for one in found] == ["completed"] * count else []

    found: list[Download] = await until(are_there, what=f"{count} downloads")
    return found


async def content(lease: Lease, download: Download) -> bytes:
    answer = await lease.runner.request("GET", f"/leases/{lease.id}/downloads/{download.id}")
    assert answer.status_code == 200
    return answer.content


async def test_a_raw_clients_downloads_are_kept_and_fetched(lease: Lease, site: Site) -> None:
    assert await listed(lease) == []
    async with Cdp(lease.cdp_url) as cdp:
        for _ in range(2):
            await cdp.open(site.url("/download"))

    newest, older = await complete(lease, 2)

    assert (newest.name, newest.url, newest.size) == ("loot.bin", site.url("/download"), len(LOOT))
    assert older.created_at <= newest.created_at
    assert [await content(lease, one) for one in (newest, older)] == [LOOT, LOOT]


async def test_playwrights_downloads_are_there_too(playwright: Playwright, lease: Lease, site: Site) -> None:
    browser = await attached(playwright, lease.cdp_url)
    for context in (browser.contexts[0], await browser.new_context()):
        page = await context.new_page()
        await page.goto(site.url("/hello"))
        async with page.expect_download() as event:
            await page.evaluate("void (location.href = '/download')")
        assert await (await event.value).failure() is None

        assert await content(lease, (await listed(lease))[0]) == LOOT
        await page.close()
    await browser.close()


@pytest.mark.parametrize(
    "folder",
    [f"{TEMPORARY}/own/folder", f"{HOME}/own", "/var/folders/xy/T/own", "C:\\Users\\me\\AppData\\Local\\Temp\\own"],
)
async def test_a_clients_own_folder_may_be_one_of_its_own_machine(lease: Lease, site: Site, folder: str) -> None:
    async with Cdp(lease.cdp_url) as cdp:
        await cdp.call("Browser.setDownloadBehavior", {"behavior": "allowAndName", "downloadPath": folder})
        page = await cdp.new_page()
        await cdp.open(site.url("/download"), session=page)

    (only,) = await complete(lease, 1)

    assert (only.name, await content(lease, only)) == ("loot.bin", LOOT)


async def test_nothing_of_it_is_there_for_others_or_afterwards(
    runner: RunnerProcess, shared: Lease, site: Site
) -> None:
    async with runner.lease() as lease:
        async with Cdp(lease.cdp_url) as cdp:
            await cdp.open(site.url("/download"))
        (only,) = await complete(lease, 1)
        answer = await runner.request("GET", f"/leases/{shared.id}/downloads/{only.id}")
        assert (answer.status_code, answer.json()["code"]) == (404, "no_download")

    for path in (f"/leases/{lease.id}/downloads", f"/leases/{lease.id}/downloads/{only.id}"):
        answer = await runner.request("GET", path)
        assert (answer.status_code, answer.json()["code"]) == (404, "no_lease")
