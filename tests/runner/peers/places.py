"""Ideas about a client's own time zone and locale."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Error, Page

from tests.runner.peers.pair import Side, idea

TOKYO: dict[str, Any] = {"timezone_id": "Asia/Tokyo", "locale": "de-DE"}
ZONE = "Intl.DateTimeFormat().resolvedOptions().timeZone"
LOCALE = "Intl.DateTimeFormat().resolvedOptions().locale"
BY_WORKER = "new Promise(done => { new Worker('/place.js').onmessage = event => done(event.data); })"


@idea("Sat Nov 19 2016 08:12:34 GMT-1000")
async def dates_are_in_the_time_zone_of_a_context(side: Side) -> Any:
    async with side.page(timezone_id="Pacific/Honolulu", locale="en-US") as page:
        return (await page.evaluate("new Date(1479579154987).toString()")).partition(" (")[0]


@idea(["Invalid timezone ID: Foo/Bar", "America/New_York"])
async def an_unknown_time_zone_is_refused(side: Side) -> Any:
    async with side.context(timezone_id="Foo/Bar") as context:
        try:
            await context.new_page()
            seen = "taken"
        except Error as error:
            seen = next(line for line in error.message.splitlines() if "timezone" in line).rpartition("Error: ")[2]
            seen = seen[seen.index("Invalid") :]
    async with side.page() as page:
        return [seen, await page.evaluate(ZONE)]


@idea([["Asia/Tokyo", "de-DE"], ["America/New_York", "en-US"]])
async def contexts_beside_each_other_keep_their_places(side: Side) -> Any:
    async def place(page: Page) -> Any:
        return [await page.evaluate(ZONE), await page.evaluate(LOCALE)]

    async with side.page(**TOKYO) as own, side.page() as other:
        return [await place(own), await place(other)]


@idea(["de-DE", "Asia/Tokyo", "1.234,5"])
async def a_worker_is_in_the_place_of_its_context(side: Side) -> Any:
    async with side.page(**TOKYO) as page:
        return await page.evaluate(BY_WORKER)


@idea(["de-DE", "de-DE", "de-DE", ["de-DE"]])
async def language_and_header_are_those_of_a_context(side: Side) -> Any:
    async with side.page("/early", **TOKYO) as page:
        header = side.site.last("/early").headers["accept-language"].partition(",")[0]
        seen = await page.evaluate(f"[navigator.language, {LOCALE}, [...navigator.languages]]")
        return [header, *seen]


@idea(["1.000.000,5", "20.11.2016, 03:12:34"])
async def numbers_and_dates_are_written_as_in_the_locale(side: Side) -> Any:
    async with side.page(**TOKYO) as page:
        return await page.evaluate("[(1000000.5).toLocaleString(), new Date(1479579154987).toLocaleString()]")


@idea(["Asia/Tokyo", "de-DE"])
async def a_cross_site_frame_is_in_the_place_of_its_context(side: Side) -> Any:
    path = f"/frame?src={side.site.url('/hello', host='localhost')}"
    async with side.page(path, **TOKYO) as page:
        return await page.frames[1].evaluate(f"[{ZONE}, {LOCALE}]")


@idea([["Asia/Tokyo", "de-DE"], ["Asia/Tokyo", "de-DE"]])
async def a_session_overrides_time_zone_and_locale_by_cdp(side: Side) -> Any:
    async with side.page(own=True) as page:
        session = await page.context.new_cdp_session(page)
        await session.send("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Tokyo"})
        await session.send("Emulation.setLocaleOverride", {"locale": "de-DE"})
        seen = [await page.evaluate(f"[{ZONE}, {LOCALE}]")]
        await page.goto(side.site.url("/hello", host="localhost"))
        return [*seen, await page.evaluate(f"[{ZONE}, {LOCALE}]")]
