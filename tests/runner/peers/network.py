"""Ideas about requests, routes, frames and workers."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Error, Route

from tests.fakes.upstream_proxy import UpstreamProxy
from tests.runner.peers.pair import Side, idea


@idea([201, "mocked", "yes", "fetched"])
async def requests_are_fulfilled(side: Side) -> Any:
    async with side.page(own=True) as page:

        async def fulfil(route: Route) -> None:
            await route.fulfill(status=201, body="mocked", headers={"x-mock": "yes"})

        await page.route("**/mock", fulfil)
        answer = await page.goto(side.site.url("/mock"))
        assert answer is not None
        seen = [answer.status, await answer.text(), answer.headers["x-mock"]]
        await page.route("**/own", lambda route: route.fulfill(body="fetched"))
        return [*seen, await page.evaluate("fetch('/own').then(answer => answer.text())")]


@idea(["bar", "POST", "changed"])
async def requests_are_continued_with_changes(side: Side) -> Any:
    async with side.page(own=True) as page:

        async def change(route: Route) -> None:
            await route.continue_(method="POST", post_data="changed", headers={**route.request.headers, "foo": "bar"})

        await page.route("**/headers", change)
        async with page.expect_response("**/headers") as event:
            await page.evaluate("fetch('/headers').then(answer => answer.json())")
        request = (await event.value).request
        seen = side.site.last("/headers")
        return [seen.headers["foo"], seen.method, request.post_data]


@idea([["/there", "/hello"], True, 302])
async def redirects_are_told(side: Side) -> Any:
    async with side.page() as page:
        answer = await page.goto(side.site.url("/there"))
        assert answer is not None
        first = answer.request.redirected_from
        assert first is not None
        paths = [one.url.removeprefix(side.site.url("")) for one in (first, answer.request)]
        earlier = await first.response()
        assert earlier is not None
        return [paths, first.redirected_to == answer.request, earlier.status]


@idea(True)
async def headers_are_told_as_the_server_got_them(side: Side) -> Any:
    async with side.page() as page:
        answer = await page.goto(side.site.url("/headers"))
        assert answer is not None
        told = await answer.request.all_headers()
        got = await answer.json()
        return {name: value for name, value in told.items() if not name.startswith(":")} == got


@idea("net::ERR_INTERNET_DISCONNECTED")
async def an_offline_page_does_not_load(side: Side) -> Any:
    async with side.page(own=True) as page:
        await page.context.set_offline(True)
        try:
            await page.goto(side.site.url("/hello"))
        except Error as error:
            return error.message.partition(" at ")[0].rpartition(" ")[2]
        return "loaded"


@idea([["Frame", 11], [True, 123, 13], "own"])
async def a_cross_site_frame_is_driven_like_a_page(side: Side) -> Any:
    path = f"/frame?src={side.site.url('/early', host='localhost')}"
    async with side.context(extra_http_headers={"x-own": "own"}) as context:
        await context.add_init_script("window.injected = 123")
        await context.expose_function("add", lambda a, b: a + b)
        page = await context.new_page()
        await page.goto(side.site.url(path))
        frame = page.frames[1]
        await frame.evaluate("document.title = 'Frame'")
        box = await frame.evaluate("5 + 6")
        inner = [frame != page.main_frame, await frame.evaluate("early.injected"), await frame.evaluate("add(9, 4)")]
        return [[await frame.title(), box], inner, side.site.last("/early").headers["x-own"]]


@idea([["/portrait.js"], 42, 0])
async def workers_are_told_and_driven(side: Side) -> Any:
    async with side.page() as page:
        async with page.expect_worker() as event:
            await page.evaluate("window.worker = new Worker('/portrait.js')")
        worker = await event.value
        seen = [[one.url.removeprefix(side.site.url("")) for one in page.workers], await worker.evaluate("6 * 7")]
        async with worker.expect_event("close"):
            await page.evaluate("worker.terminate()")
        return [*seen, len(page.workers)]


@idea(["hello from the page", "Error: no"])
async def a_pages_words_and_errors_are_told(side: Side) -> Any:
    async with side.page() as page:
        async with page.expect_console_message() as said:
            await page.evaluate("console.log('hello', 'from the page')")
        async with page.expect_event("pageerror") as failed:
            await page.evaluate("setTimeout(() => { throw new Error('no'); }, 0)")
        error = await failed.value
        return [(await said.value).text, f"{error.name}: {error.message}"]


@idea([True, "127.0.0.1"])
async def a_context_has_a_proxy_of_its_own(side: Side) -> Any:
    async with UpstreamProxy("http") as proxy:
        proxy.destination = ("127.0.0.1", side.site.port)
        try:
            async with side.context(proxy={"server": f"http://127.0.0.1:{proxy.port}", "bypass": "<-loopback>"}) as own:
                page = await own.new_page()
                await page.goto(side.site.url("/hello"))
                return [bool(proxy.asked), "127.0.0.1"]
        except Error:
            return [bool(proxy.asked), "127.0.0.1"]
