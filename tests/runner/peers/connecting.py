"""Ideas about several clients of one browser, its default context and its sessions."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tests.fakes.site import SELF_PORTRAIT
from tests.runner.peers.pair import Side, idea


@idea([1, True])
async def a_second_client_has_the_default_context_only(side: Side) -> Any:
    async with side.context(), side.connected() as other:
        return [len(other.contexts), all(page.url == "about:blank" for page in other.contexts[0].pages)]


@idea(["Hello", "/hello"])
async def a_second_client_finds_a_page_with_title_and_address(side: Side) -> Any:
    page = await side.browser.contexts[0].new_page()
    await page.goto(side.site.url("/hello"))
    async with side.connected() as other:
        found = next(one for one in other.contexts[0].pages if one.url.endswith("/hello"))
        seen = [await found.title(), found.url.removeprefix(side.site.url(""))]
    await page.close()
    return seen


@idea(["/frame", "Hello", "Hello"])
async def a_second_client_navigates_a_page_with_a_cross_site_frame(side: Side) -> Any:
    page = await side.browser.contexts[0].new_page()
    await page.goto(side.site.url(f"/frame?src={side.site.url('/hello', host='localhost')}"))
    async with side.connected() as other:
        found = next(one for one in other.contexts[0].pages if "/frame" in one.url)
        seen = ["/frame", await found.frames[1].title()]
        await found.goto(side.site.url("/hello"))
        seen.append(await found.title())
    await page.close()
    return seen


@idea(["[object ServiceWorkerGlobalScope]", 1])
async def a_second_client_finds_a_service_worker(side: Side) -> Any:
    context = side.browser.contexts[0]
    page = await context.new_page()
    await page.goto(side.site.url("/hello"))
    async with context.expect_event("serviceworker") as event:
        await page.evaluate("void navigator.serviceWorker.register('/portrait.js')")
    worker = await event.value
    seen = [await worker.evaluate("self.toString()")]
    async with side.connected() as other:
        seen.append(len(other.contexts[0].service_workers))
    await page.evaluate("navigator.serviceWorker.getRegistration().then(found => found.unregister())")
    await page.close()
    return seen


@idea([["one.txt", "two.txt"], "first"])
async def files_are_uploaded(side: Side) -> Any:
    files: Any = [
        {"name": "one.txt", "mimeType": "text/plain", "buffer": b"first"},
        {"name": "two.txt", "mimeType": "text/plain", "buffer": b"second"},
    ]
    async with side.page() as page:
        await page.set_content("<input type=file multiple>")
        await page.locator("input").set_input_files(files)
        return await page.locator("input").evaluate(
            "async e => [[...e.files].map(f => f.name), await e.files[0].text()]"
        )


@idea(["loot.bin", "loot"])
async def a_download_is_saved(side: Side) -> Any:
    async with side.page() as page:
        async with page.expect_download() as event:
            await page.evaluate("void (location.href = '/download')")
        download = await event.value
        with tempfile.TemporaryDirectory() as folder:
            await download.save_as(f"{folder}/saved")
            return [download.suggested_filename, Path(folder, "saved").read_bytes()[:4].decode()]


@idea(["mine.txt", True])
async def a_download_that_its_context_does_not_accept_fails(side: Side) -> Any:
    async with side.page(accept_downloads=False) as page:
        await page.set_content("<a href='data:text/plain,x' download='mine.txt'>x</a>")
        async with page.expect_download() as event:
            await page.click("a")
        download = await event.value
        return [download.suggested_filename, bool(await download.failure())]


@idea([True, "Hello", 7])
async def a_session_of_a_page_speaks_cdp(side: Side) -> Any:
    async with side.page() as page:
        session = await page.context.new_cdp_session(page)
        await session.send("Runtime.enable")
        tree = await session.send("Page.getFrameTree")
        answer = await session.send("Runtime.evaluate", {"expression": "3 + 4"})
        await session.detach()
        return [tree["frameTree"]["frame"]["url"].endswith("/hello"), await page.title(), answer["result"]["value"]]


@idea([True, True])
async def the_browser_tells_the_version_that_its_pages_tell(side: Side) -> Any:
    session = await side.browser.new_browser_cdp_session()
    version = await session.send("Browser.getVersion")
    await session.detach()
    async with side.page() as page:
        agent = await page.evaluate("navigator.userAgent")
    return [version["userAgent"] == agent, version["product"].endswith(side.browser.version)]


@idea([[{"name": "a", "value": "1"}], [{"name": "b", "value": "2"}]])
async def storage_state_goes_from_one_context_to_another(side: Side) -> Any:
    async with side.page("/cookie", own=True) as page:
        await page.evaluate("localStorage.setItem('b', '2')")
        state = await page.context.storage_state()
    async with side.page(own=True, storage_state=state) as page:
        cookies = [{"name": one["name"], "value": one["value"]} for one in await page.context.cookies()]
        return [cookies, await page.evaluate("Object.entries(localStorage).map(([name, value]) => ({name, value}))")]


@idea([True, [200, 100], True])
async def a_page_becomes_an_image_and_a_pdf(side: Side) -> Any:
    async with side.page(viewport={"width": 200, "height": 100}) as page:
        image = await page.screenshot()
        size = [int.from_bytes(image[16:20], "big"), int.from_bytes(image[20:24], "big")]  # of a PNG's header
        return [image.startswith(b"\x89PNG"), size, (await page.pdf()).startswith(b"%PDF")]


@idea(["prompt", "prompt", "granted", {"latitude": 59.5, "longitude": 30.25}])
async def permissions_are_asked_for_until_they_are_granted(side: Side) -> Any:
    query = "name => navigator.permissions.query({name}).then(answer => answer.state)"
    async with side.page(own=True, geolocation={"latitude": 59.5, "longitude": 30.25}) as page:
        seen = [await page.evaluate(query, name) for name in ("geolocation", "notifications")]
        await page.context.grant_permissions(["geolocation"])
        seen.append(await page.evaluate(query, "geolocation"))
        where = """new Promise((done, fail) => navigator.geolocation.getCurrentPosition(
          at => done({latitude: at.coords.latitude, longitude: at.coords.longitude}), fail))"""
        return [*seen, await page.evaluate(where)]


@idea([True, False, True])
async def a_page_knows_that_it_is_offline(side: Side) -> Any:
    async with side.page(own=True) as page:
        seen = [await page.evaluate("navigator.onLine")]
        for offline in (True, False):
            await page.context.set_offline(offline)
            seen.append(await page.evaluate("navigator.onLine"))
        return seen


@idea({"platform": "Linux x86_64", "languages": ["en-US", "en"], "webdriver": False, "timezone": "America/New_York"})
async def a_page_sees_the_same_navigator(side: Side) -> Any:
    page = await side.browser.contexts[0].new_page()
    await page.goto(side.site.url("/hello"))
    seen = await page.evaluate(f"() => {{ {SELF_PORTRAIT} return portrait(); }}")
    await page.close()
    return {name: seen[name] for name in ("platform", "languages", "webdriver", "timezone")}


@idea(["file", True])
async def a_file_of_the_machine_is_opened(side: Side) -> Any:
    async with side.page() as page:
        await page.goto("file:///usr/share/fonts")
        return [page.url.partition(":")[0], "fonts" in await page.title()]
