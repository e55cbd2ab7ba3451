"""`POST /pages`: what the quick calls see of every kind of page, from a headless shell of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from typing import Any

import psutil
import pytest

from runner.wire import MAX_SCREENSHOT_HEIGHT, PageFailure, PageResult, page_answer
from tests.fakes.site import Site
from tests.runner.asking import ask, fail, fetch, page, png_size, run_out, slow
from tests.runner.harness import PAGE_PLACES, RunnerProcess, command_line, first_of_their_kind, until

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


def shells(runner: RunnerProcess) -> list[int]:
    """The headless shells' main processes."""
    return first_of_their_kind(runner.pid, is_shell)


def is_shell(pid: int) -> bool:
    line = command_line(pid)
    return (
        "--block-new-web-contents" in line
        and not any(word.startswith("--type=") for word in line)
        and not line[0].endswith("bwrap")
    )


def connections_to(site: Site) -> list[object]:
    """What is connected to `site` and has not hung up."""
    return [
        connection
        for connection in psutil.net_connections("tcp4")
        if connection.laddr and connection.laddr.port == site.port and connection.status == psutil.CONN_ESTABLISHED
    ]


async def test_a_page_comes_with_everything_that_was_asked_for(runner: RunnerProcess, site: Site) -> None:
    body = '<!doctype html><title>T</title><p>Seen</p><p hidden>Unseen</p><a href="/x">x</a><a href="mailto:a@b">m</a>'
    with page(site, "/full", body) as url:
        found = await fetch(runner, url, formats=["html", "text", "links", "screenshot"], full_page=False)
    assert (found.url, found.http_status, found.title) == (url, 200, "T")
    assert found.html is not None and found.html.startswith("<!DOCTYPE html>") and "Unseen" in found.html
    assert found.text is not None and "Seen" in found.text and "Unseen" not in found.text
    assert found.links == [site.url("/x"), "mailto:a@b"]
    assert png_size(found.screenshot_png_b64) == (1512, 862)


# A new page learns of its window a moment after its first script has run.
WINDOW = """<!doctype html><script>
  const look = () => outerWidth ? document.body.append(Object.assign(document.createElement('output'), {value:
    JSON.stringify([[screen.width, screen.height], [outerWidth, outerHeight], [innerWidth, innerHeight]])
  })) : setTimeout(look, 5);
  onload = look;
</script>"""


@pytest.mark.parametrize(
    ("os_family", "screen", "viewport"),
    [("macos", [1512, 982], [1512, 862]), ("windows", [1920, 1080], [1920, 945]), ("linux", [1920, 1080], [1920, 966])],
)
async def test_a_page_fills_a_window_on_the_screen_of_its_identity(
    runner: RunnerProcess, site: Site, os_family: str, screen: list[int], viewport: list[int]
) -> None:
    with page(site, "/window", WINDOW) as url:
        found = await fetch(runner, url, os_family=os_family, wait_for="output", formats=["text"])
    assert json.loads(found.text or "") == [screen, viewport, viewport]


async def test_what_was_not_asked_for_is_left_out(runner: RunnerProcess, site: Site) -> None:
    found = await fetch(runner, site.url("/hello"), formats=["text"])
    assert (found.html, found.links, found.screenshot_png_b64) == (None, None, None)


async def test_a_page_that_answers_404_is_a_page(runner: RunnerProcess, site: Site) -> None:
    with page(site, "/gone", "<h1>Gone</h1>", status=404) as url:
        found = await fetch(runner, url)
    assert found.http_status == 404
    assert found.html is not None and "Gone" in found.html


async def test_redirects_are_followed_and_the_landing_address_is_told(runner: RunnerProcess, site: Site) -> None:
    found = await fetch(runner, site.url(f"/redirect?to={site.url('/hello')}"))
    assert found.url == site.url("/hello")


async def test_a_script_that_moves_on_at_once_is_followed(runner: RunnerProcess, site: Site) -> None:
    with page(site, "/hop", f"<script>location.replace({site.url('/hello')!r})</script>") as url:
        found = await fetch(runner, url)
    assert found.url == site.url("/hello")


async def test_a_page_is_read_after_its_own_handlers_of_its_load(runner: RunnerProcess, site: Site) -> None:
    body = "<p>before</p><script>onload = () => { document.querySelector('p').textContent = 'after' }</script>"
    with page(site, "/onload", body) as url:
        assert (await fetch(runner, url, formats=["text"])).text == "after"


async def test_a_document_that_is_replaced_before_it_has_loaded_is_not_waited_for(
    runner: RunnerProcess, site: Site
) -> None:
    with slow(site, "/late.png"), page(site, "/left", "<img src=/late.png><script>location = '/hello'</script>") as url:
        assert (await fetch(runner, url)).url == site.url("/hello")


async def test_text_is_cut_at_max_chars(runner: RunnerProcess, site: Site) -> None:
    with page(site, "/long", f"<p>{'word ' * 1000}</p>") as url:
        found = await fetch(runner, url, formats=["text"], max_chars=100)
    assert found.text is not None and len(found.text) == 100


async def test_a_page_cannot_change_how_it_is_read(runner: RunnerProcess, site: Site) -> None:
    lies = "<script>Object.defineProperty(document, 'title', {get: () => 'lie'}); String.prototype.slice = () => 'lie';"
    with page(site, "/liar", f"<title>true</title><p>true</p>{lies}</script>") as url:
        found = await fetch(runner, url, formats=["text"])
    assert found.title == "true"
    assert found.text is not None and "true" in found.text


async def test_a_full_page_screenshot_is_as_high_as_the_page_up_to_the_maximum(
    runner: RunnerProcess, site: Site
) -> None:
    with page(site, "/high", "<body style='margin:0'><div style='height:3000px'>") as url:
        assert png_size((await fetch(runner, url, formats=["screenshot"])).screenshot_png_b64) == (1512, 3000)
    with page(site, "/endless", "<body style='margin:0'><div style='height:60000px'>") as url:
        size = png_size((await fetch(runner, url, formats=["screenshot"])).screenshot_png_b64)
    assert size == (1512, MAX_SCREENSHOT_HEIGHT)


async def test_dialogs_and_popups_do_not_stop_a_page(runner: RunnerProcess, site: Site) -> None:
    script = f"alert(1); confirm(2); prompt(3); window.open({site.url('/popped')!r}); document.title = 'through'"
    with page(site, "/noisy", f"<script>{script}</script>") as url:
        found = await fetch(runner, url)
    assert found.title == "through"
    assert "/popped" not in site.paths()


async def test_waiting_for_a_selector_waits_for_what_a_script_adds(runner: RunnerProcess, site: Site) -> None:
    late = "<script>setTimeout(() => document.body.insertAdjacentHTML('beforeend', '<b id=late>x</b>'), 300)</script>"
    with page(site, "/adds", f"<body>{late}") as url:
        found = await fetch(runner, url, wait_for="#late")
    assert found.html is not None and 'id="late"' in found.html


async def test_a_selector_that_never_comes_is_a_timeout_and_nonsense_is_named(
    runner: RunnerProcess, site: Site
) -> None:
    await run_out(runner, site.url("/hello"), "#never", wait_for="#never")
    nonsense = await fail(runner, site.url("/hello"), wait_for="a[[")
    assert nonsense.failure == "bad_selector"


async def test_a_page_that_never_stops_loading_is_a_timeout_unless_the_document_is_enough(
    runner: RunnerProcess, site: Site
) -> None:
    with slow(site, "/never"), page(site, "/hangs", "<title>There</title><p>x</p><img src='/never'>") as url:
        await run_out(runner, url, "'load'")
        assert (await fetch(runner, url, wait_until="domcontentloaded")).title == "There"


async def test_a_server_that_never_answers_is_a_timeout(runner: RunnerProcess, site: Site) -> None:
    with slow(site, "/silent"):
        await run_out(runner, site.url("/silent"), "answer")


async def test_network_idle_waits_for_late_requests(runner: RunnerProcess, site: Site) -> None:
    script = """onload = () => {
      const ask = path => fetch(path).then(answer => answer.text());
      ask('/late').then(() => { document.title = 'idle' });
      ask('/loaded');
    }"""
    with slow(site, "/late") as gate, page(site, "/busy", f"<script>{script}</script>") as url:
        asking = asyncio.create_task(fetch(runner, url, wait_until="networkidle"))
        await until(lambda: {"/late", "/loaded"} <= set(site.paths()), what="the requests of a loaded page")
        gate.release()
        assert (await asking).title == "idle"


async def test_files_are_not_pages(runner: RunnerProcess, site: Site) -> None:
    assert (await fail(runner, site.url("/download"))).failure == "download"
    with page(site, "/attached", "<p>x", headers={"Content-Disposition": "attachment; filename=a.html"}) as url:
        assert (await fail(runner, url)).failure == "download"
    with page(site, "/paper", "%PDF-1.4", headers={"Content-Type": "application/pdf"}) as url:
        assert isinstance(await ask(runner, url), PageFailure | PageResult)


async def test_json_and_plain_text_are_shown_as_they_are(runner: RunnerProcess, site: Site) -> None:
    with page(site, "/data", '{"a": 1}', headers={"Content-Type": "application/json"}) as url:
        found = await fetch(runner, url, formats=["text"])
    assert found.text is not None and '{"a": 1}' in found.text


async def test_redirects_without_end_are_an_error(runner: RunnerProcess, site: Site) -> None:
    with page(site, "/loop", "", status=302, headers={"Location": "/loop"}) as url:
        answer = await fail(runner, url)
    assert (answer.failure, answer.message) == ("unreachable", "net::ERR_TOO_MANY_REDIRECTS")


async def test_a_page_that_reloads_for_ever_ends(runner: RunnerProcess, site: Site) -> None:
    with page(site, "/spin", "<script>location.reload()</script>") as url:
        answer = await ask(runner, url, timeout_ms=2000)
    assert isinstance(answer, PageResult) or answer.failure == "timeout"


async def test_network_errors_are_named(runner: RunnerProcess, site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    assert (await fail(runner, "http://name.invalid/")).message == "net::ERR_NAME_NOT_RESOLVED"
    refused = await fail(runner, f"http://127.0.0.1:{closed}/")
    assert refused.failure == "not_allowed"  # another port of this machine: the policy speaks first
    tls = await fail(runner, site.url("/").replace("http:", "https:"))
    assert (tls.failure, tls.message.startswith("net::ERR_SSL")) == ("unreachable", True)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "169.254.169.254", "[::ffff:127.0.0.1]", "2130706433", "localhost"])
async def test_addresses_inside_are_refused_also_behind_a_redirect(
    runner: RunnerProcess, site: Site, host: str
) -> None:
    url = f"http://{host}/"
    expected = "unreachable" if host == "127.0.0.1:1" else "not_allowed"  # Chromium itself refuses port 1
    assert (await fail(runner, url)).failure == expected
    assert (await fail(runner, site.url(f"/redirect?to={url}"))).failure == expected


async def test_more_than_we_carry_is_refused(runner: RunnerProcess, site: Site) -> None:
    with page(site, "/huge", f"<!--{'x' * 12_000_000}-->") as url:
        assert (await fail(runner, url)).failure == "too_large"


async def test_blocked_kinds_of_resources_are_not_requested(runner: RunnerProcess, site: Site) -> None:
    body = "<img src='/pic'><link rel=stylesheet href='/style'><script src='/script'></script>"
    with page(site, "/rich", body) as url:
        await fetch(runner, url, block_resources=["image", "stylesheet"])
    assert "/script" in site.paths()
    assert not {"/pic", "/style"} & set(site.paths())


async def test_pages_share_nothing(runner: RunnerProcess, site: Site) -> None:
    body = "<script>document.title = document.cookie + (localStorage.mark || ''); localStorage.mark = 'ours'</script>"
    with page(site, "/marks", body, headers={"Set-Cookie": "mark=ours"}) as url:
        titles = [(await fetch(runner, url)).title for _ in range(4)]
    assert titles == ["mark=ours"] * 4


async def test_a_page_has_the_identity_that_was_asked_for(runner: RunnerProcess, site: Site) -> None:
    script = "<script>document.title = navigator.platform + Intl.DateTimeFormat().resolvedOptions().timeZone</script>"
    with page(site, "/who", script) as url:
        assert (await fetch(runner, url)).title == "MacIntelAmerica/New_York"
        assert (await fetch(runner, url, os_family="windows", country="de")).title == "Win32Europe/Berlin"
    agents = [seen.headers["user-agent"] for seen in site.requests if seen.path == "/who"]
    assert ["Macintosh" in agents[-2], "Windows NT" in agents[-1]] == [True, True]
    assert not any("Headless" in agent for agent in agents)


FRAMED = """<!doctype html><script>onmessage = message => { document.title = message.data }</script>
<iframe src="%s"></iframe>"""
FRAME = """<!doctype html><script>
  const {locale, timeZone} = Intl.DateTimeFormat().resolvedOptions();
  const work = `postMessage(Intl.DateTimeFormat().resolvedOptions().timeZone)`;
  new Worker(URL.createObjectURL(new Blob([work]))).onmessage = message =>
    parent.postMessage([locale, timeZone, message.data].join(), "*");
</script>"""


async def test_frames_of_other_sites_and_their_workers_are_in_the_default_country(
    runner: RunnerProcess, site: Site
) -> None:
    elsewhere = f"http://localhost:{site.port}/frame"
    with page(site, "/frame", FRAME), page(site, "/framed", FRAMED % elsewhere) as url:
        found = await fetch(runner, url, wait_for="html:has(title:not(:empty))")
    assert found.title == "en-US,America/New_York,America/New_York"


async def test_a_shell_that_dies_under_a_page_costs_a_second_try_and_no_more(runner: RunnerProcess, site: Site) -> None:
    with slow(site, "/patient") as gate:
        asking = asyncio.create_task(fetch(runner, site.url("/patient")))
        await until(lambda: "/patient" in site.paths(), what="the request")
        (shell,) = shells(runner)
        os.kill(shell, signal.SIGKILL)
        await until(lambda: not command_line(shell), what="its end")
        gate.release(2)  # the first one's answer goes nowhere
        assert (await asking).html is not None
    assert site.paths().count("/patient") == 2


async def test_hanging_up_frees_the_page(runner: RunnerProcess, site: Site) -> None:
    with slow(site, "/forsaken"):
        asking = asyncio.create_task(fetch(runner, site.url("/forsaken")))
        await until(lambda: "/forsaken" in site.paths(), what="the request")
        assert connections_to(site)
        asking.cancel()
        await until(lambda: not connections_to(site), what="the end of the page's own request")


async def test_one_queue_with_many_pages_does_not_hold_up_another(runner: RunnerProcess, site: Site) -> None:
    """Of the places that become free, the other one gets every second."""
    sent = asyncio.Event()

    async def note(event: str, info: dict[str, Any]) -> None:
        if event == "http11.send_request_body.complete":
            sent.set()

    with slow(site, "/mine") as gate:
        mine = [asyncio.create_task(fetch(runner, site.url("/mine"), queue="big")) for _ in range(16)]
        await until(lambda: site.paths().count("/mine") == PAGE_PLACES, what="a page in every place")
        wanted = {"url": site.url("/hello"), "os_family": "macos", "country": "us", "formats": [], "queue": "small"}
        asking = runner.request("POST", "/pages", json=wanted, extensions={"trace": note})
        other = asyncio.create_task(asking)
        await sent.wait()
        for _ in range(3):
            await runner.status()  # it has seen to what came before
        gate.release(2)
        assert isinstance(page_answer((await other).content), PageResult)
        assert sum(task.done() for task in mine) <= 2
        gate.release(16)
        await asyncio.gather(*mine)
