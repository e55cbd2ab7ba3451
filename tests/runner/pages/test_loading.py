"""When a page has been loaded, and where: kinds A, B, C and G of the pages that people report."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from runner.wire import PageResult
from tests.fakes.site import Site, html
from tests.runner.asking import ask, case, fail, fetch, page, slow
from tests.runner.harness import RunnerProcess

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture(scope="module", autouse=True)
def named_places(site: Site) -> Iterator[None]:
    """What the pages here lead to."""
    site.raw["/e204"] = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
    site.pages["/final"] = lambda query: html("<title>Final page</title><h1>Final page</h1>")
    yield
    del site.raw["/e204"], site.pages["/final"]


# A: pages whose own script world is of no use


async def test_a_sandboxed_page_is_read(runner: RunnerProcess, site: Site) -> None:
    with case(site, "01-csp-sandbox-raw") as url:
        found = await fetch(runner, url, formats=["html", "text", "screenshot"])
    assert (found.http_status, found.text) == (200, "# Title\nplain raw text\n")
    assert found.screenshot_png_b64


async def test_a_sandboxed_page_of_html_is_read_in_every_format(runner: RunnerProcess, site: Site) -> None:
    body = "<p>Text</p><noscript>Without scripts</noscript><br><a href=/final>f</a><div style='height:3000px'>"
    policy = {"Content-Security-Policy": "sandbox allow-forms"}
    with page(site, "/sandboxed", body, headers=policy) as url:
        found = await fetch(runner, url, formats=["html", "text", "links", "flat", "screenshot"])
        waited = await fetch(runner, url, wait_for="p", wait_until="networkidle", formats=["text"])
    assert found.links == [site.url("/final")]
    assert found.text == waited.text == "Text\n\nWithout scripts\nf"


@pytest.mark.parametrize("script", ["onload = () => {%s}", "onload = () => setTimeout(() => {%s})"])
async def test_a_document_that_is_opened_again_is_read(runner: RunnerProcess, site: Site, script: str) -> None:
    written = script % "document.open(); document.write('<h1>after</h1><p>more</p>')"
    with page(site, "/opened", f"<p>before</p><script>{written}</script>") as url:
        assert (await fetch(runner, url, formats=["text"])).text == "after\n\nmore"


# B: the load event never comes


@pytest.mark.parametrize("name", ["02-window-stop", "06-js-204", "21-custom-protocol"])
async def test_a_page_whose_loading_has_stopped_is_read(runner: RunnerProcess, site: Site, name: str) -> None:
    words = {"02-window-stop": "content here", "06-js-204": "Staying", "21-custom-protocol": "Opening app"}
    with slow(site, "/slowimg"), case(site, name) as url:
        found = await fetch(runner, url, formats=["text"])
        idle = await fetch(runner, url, formats=["text"], wait_until="networkidle")
    assert (found.text, found.http_status) == (words[name], 200)
    assert idle.text == words[name]


@pytest.mark.parametrize("where", ["/e204", "/download", "myapp://open", "mailto:a@b.c", "tel:1"])
@pytest.mark.parametrize("when", ["%s", "onload = () => {%s}", "setTimeout(() => {%s})"])
async def test_a_page_that_leads_to_no_other_one_is_read(
    runner: RunnerProcess, site: Site, where: str, when: str
) -> None:
    script = when % f"location = {where!r}"
    with page(site, "/stays", f"<title>Stays</title><p>Thank you</p><script>{script}</script>") as url:
        found = await fetch(runner, url, formats=["text"])
    assert (found.url, found.title, found.text) == (url, "Stays", "Thank you")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("03-content-length-short", "net::ERR_CONTENT_LENGTH_MISMATCH"),
        ("04-chunked-without-end", "net::ERR_INCOMPLETE_CHUNKED_ENCODING"),
    ],
)
async def test_a_body_that_is_cut_short_is_what_arrived_or_its_error(
    runner: RunnerProcess, site: Site, name: str, error: str
) -> None:
    with case(site, name) as url:
        answer = await ask(runner, url)
    if isinstance(answer, PageResult):  # Chromium shows what came in time
        assert answer.title == "trunc" and "First half" in (answer.html or "")
    else:
        assert (answer.failure, answer.message, answer.http_status) == ("unreachable", error, 200)


# C: where the browser landed


@pytest.mark.parametrize(
    "page_of",
    [
        "<script>location = '%s'</script>",
        "<script>onload = () => location.replace('%s')</script>",
        "<meta http-equiv=refresh content='0;url=%s'>",
        "<body onload='document.forms[0].submit()'><form method=post action='%s'>",
    ],
)
@pytest.mark.parametrize(
    ("where", "failure", "message"),
    [
        ("http://169.254.169.254/", "not_allowed", "the address is not globally routable"),
        ("http://127.0.0.1:1/", "unreachable", "net::ERR_UNSAFE_PORT"),
        ("http://name.invalid/", "unreachable", "net::ERR_NAME_NOT_RESOLVED"),
    ],
)
async def test_a_page_that_leads_to_an_address_without_a_page_fails(
    runner: RunnerProcess, site: Site, page_of: str, where: str, failure: str, message: str
) -> None:
    with page(site, "/leads", f"<title>x</title>{page_of % where}") as url:
        answer = await fail(runner, url)
    assert (answer.failure, answer.message) == (failure, message)


async def test_the_refused_address_of_the_case_is_refused(runner: RunnerProcess, site: Site) -> None:
    with case(site, "09-js-to-refused-address") as url:
        assert (await fail(runner, url)).message == "net::ERR_UNSAFE_PORT"


async def test_a_page_that_leads_to_no_web_address_is_not_allowed(runner: RunnerProcess, site: Site) -> None:
    with page(site, "/blank", "<script>location = 'about:blank'</script>") as url:
        answer = await fail(runner, url)
    assert (answer.failure, "about:blank" in answer.message) == ("not_allowed", True)


# G: navigations that are scheduled already


TIMES = 8  # each page is loaded so often, because following is a race between two pages
SCHEDULED = {
    "script": ("<script>setTimeout(() => { location = '/final' }, 0)</script>", {}),
    "chained": ("<script>onload = () => setTimeout(() => setTimeout(() => { location = '/final' }))</script>", {}),
    "header": ("", {"Refresh": "0; url=/final"}),
    "form": ("<body onload='document.forms[0].submit()'><form action=/final></form>", {}),
    "second": ("<meta http-equiv=refresh content='1; url=/final'>", {}),
}


@pytest.mark.parametrize("kind", SCHEDULED)
async def test_a_navigation_that_is_scheduled_is_followed(runner: RunnerProcess, site: Site, kind: str) -> None:
    body, headers = SCHEDULED[kind]
    with page(site, "/interim", f"<title>Interim</title><p>Interim</p>{body}", headers=headers) as url:
        titles = [found.title for found in await asyncio.gather(*(fetch(runner, url) for _ in range(TIMES)))]
    assert titles == ["Final page"] * TIMES


async def test_the_refresh_of_the_case_is_followed(runner: RunnerProcess, site: Site) -> None:
    with case(site, "10-meta-refresh-0") as url:
        titles = [(await fetch(runner, url)).title for _ in range(25)]
    assert titles == ["Final page"] * 25


async def test_a_refresh_that_comes_later_is_not_waited_for(runner: RunnerProcess, site: Site) -> None:
    with page(site, "/later", "<title>Now</title><meta http-equiv=refresh content='30; url=/final'>") as url:
        assert (await fetch(runner, url)).title == "Now"


async def test_a_page_that_refreshes_itself_without_end_ends(runner: RunnerProcess, site: Site) -> None:
    with page(site, "/again", "<title>Again</title><meta http-equiv=refresh content=0>") as url:
        answer = await ask(runner, url)
    assert isinstance(answer, PageResult) or answer.failure == "timeout"
