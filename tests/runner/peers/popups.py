"""Ideas about windows that a page opens: they have what their context has, before their first script."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Page

from tests.runner.peers.pair import Side, idea

TIMES = 5  # one popup may get it by luck
OPEN = "path => void window.open(path)"


async def opened(page: Page, path: str, script: str = OPEN) -> Page:
    async with page.expect_popup() as event:
        await page.evaluate(script, path)
    popup = await event.value
    await popup.wait_for_load_state()
    return popup


async def early(page: Page, *names: str) -> list[Any]:
    """What each popup's first script saw of these names."""
    seen = []
    for _ in range(TIMES):
        popup = await opened(page, "/early")
        told = await popup.evaluate("early")
        seen.append([told.get(name) for name in names])
        await popup.close()
    return seen


@idea([["continued", "mine", "Let in"]] * TIMES)
async def popups_are_routed_with_their_contexts_headers_and_credentials(side: Side) -> Any:
    options: Any = {
        "extra_http_headers": {"x-own": "mine"},
        "http_credentials": {"username": "user", "password": "pass"},
    }
    seen = []
    async with side.page(own=True, **options) as page:
        routed = []

        async def note(route: Any) -> None:
            routed.append("continued")
            await route.continue_()

        await page.context.route("**/secret", note)
        for _ in range(TIMES):
            popup = await opened(page, "/secret")
            header = side.site.last("/secret").headers.get("x-own")
            seen.append([routed.pop() if routed else "missed", header, await popup.title()])
            await popup.close()
    return seen


@idea([[123, "function", [400, 500], True, True]] * TIMES)
async def popups_have_scripts_functions_viewport_touch_and_media(side: Side) -> Any:
    options: Any = {"viewport": {"width": 400, "height": 500}, "has_touch": True, "color_scheme": "dark"}
    async with side.page(own=True, **options) as page:
        await page.context.add_init_script("window.injected = 123")
        await page.context.expose_function("add", lambda a, b: a + b)
        return await early(page, "injected", "bound", "size", "touch", "dark")


@idea([["hey", "de-DE", "1.234,5", "Asia/Tokyo"]] * TIMES)
async def popups_have_user_agent_locale_and_time_zone(side: Side) -> Any:
    async with side.page(user_agent="hey", locale="de-DE", timezone_id="Asia/Tokyo") as page:
        return await early(page, "agent", "language", "number", "zone")


@idea([[123, 13, [400, 500]]] * TIMES)
async def empty_popups_have_everything_while_their_opener_runs(side: Side) -> Any:
    seen = []
    async with side.page(own=True, viewport={"width": 400, "height": 500}) as page:
        await page.context.add_init_script("window.injected = 123")
        await page.context.expose_function("add", lambda a, b: a + b)
        await page.reload()
        for _ in range(TIMES):
            seen.append(
                await page.evaluate(
                    """async () => {
                      const opened = window.open("about:blank");
                      const seen = [opened.injected, await opened.add(9, 4), [opened.innerWidth, opened.innerHeight]];
                      opened.close();
                      return seen;
                    }"""
                )
            )
    return seen


@idea([[600, 300], [500, 400]])
async def a_popup_has_the_size_of_its_features_and_is_resized(side: Side) -> Any:
    async with side.page(viewport={"width": 700, "height": 700}) as page:
        popup = await opened(page, "/hello", "path => void window.open(path, 'x', 'width=600,height=300,top=0,left=0')")
        await popup.wait_for_function("innerWidth === 600 && innerHeight === 300")
        seen = [[600, 300]]
        await popup.set_viewport_size({"width": 500, "height": 400})
        return [*seen, await popup.evaluate("[innerWidth, innerHeight]")]


@idea([["/hello", True], ["/hello", False], ["about:blank", False], ["about:blank", True]])
async def every_way_to_open_a_popup_is_told(side: Side) -> Any:
    ways = ["open('/hello')", "open('/hello', '', 'noopener')", "open('about:blank', '', 'noopener')", "open('')"]
    seen = []
    async with side.page() as page:
        for way in ways:
            popup = await opened(page, "", f"void {way}")
            seen.append([popup.url.removeprefix(side.site.url("")), await popup.evaluate("!!opener")])
            await popup.close()
    return seen


@idea([["/early", False], ["/early", True]])
async def clicks_on_links_to_new_windows_open_popups(side: Side) -> Any:
    seen = []
    async with side.page() as page:
        for rel in ("noopener", "opener"):
            await page.set_content(f"<a target=_blank rel={rel} href='/early'>x</a>")
            async with page.expect_popup() as event:
                await page.click("a")
            popup = await event.value
            await popup.wait_for_load_state()
            seen.append([popup.url.removeprefix(side.site.url("")), await popup.evaluate("!!opener")])
    return seen


@idea([True, True])
async def a_popup_that_closes_at_once_is_told(side: Side) -> Any:
    async with side.page() as page:
        async with page.expect_popup() as event:
            await page.evaluate("window.open('about:blank').close()")
        popup = await event.value
        if not popup.is_closed():
            await popup.wait_for_event("close")
        return [popup.is_closed(), not page.is_closed()]


@idea(["alert", "from a popup"])
async def a_popups_dialog_is_told(side: Side) -> Any:
    async with side.page() as page:
        popup = await opened(page, "/hello")
        async with popup.expect_event("dialog") as event:
            await popup.evaluate("setTimeout(() => alert('from a popup'), 0)")
        dialog = await event.value
        seen = [dialog.type, dialog.message]
        await dialog.accept()
        return seen


@idea([[59.5, 30.25], "Popup"])
async def a_popup_of_a_frame_has_its_contexts_location(side: Side) -> Any:
    async with side.page(
        f"/frame?src={side.site.url('/hello')}",
        geolocation={"latitude": 59.5, "longitude": 30.25},
        permissions=["geolocation"],
    ) as page:
        async with page.expect_popup() as event:
            await page.frames[1].evaluate(OPEN, "/early")
        popup = await event.value
        await popup.wait_for_load_state()
        at = await popup.evaluate(
            """new Promise((done, fail) => navigator.geolocation.getCurrentPosition(
              at => done([at.coords.latitude, at.coords.longitude]), fail))"""
        )
        return [at, await popup.title()]
