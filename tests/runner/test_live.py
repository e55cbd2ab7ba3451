"""The live view of a real browser: what viewers see, who may steer, and what is left when they are gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import websockets
from websockets.asyncio.client import connect

from runner.live.hub import MAX_VIEWERS
from runner.live.messages import MAX_MESSAGE
from runner.live.pacing import INPUTS_AT_ONCE
from runner.live.viewer import ENDED, LATER, REFUSED
from tests.fakes.site import Site, html
from tests.runner.client import Cdp
from tests.runner.harness import Lease, RunnerProcess, status_of, until
from tests.runner.test_gateway import UPGRADE, ask, is_envelope
from tests.runner.watching import (
    BLUE,
    GREEN,
    RED,
    Watcher,
    dimensions,
    keystroke,
    live_path,
    live_url,
    mouse,
)

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

FORM = """<!doctype html><title>Form</title><style>
body > * { position: absolute; width: 35%; height: 10%; margin: 0; box-sizing: border-box }
body { background: blue; color: white }</style><body>
<input id="name" style="left: 10%; top: 10%"><input id="secret" type="password" style="left: 10%; top: 30%">
<textarea id="story" style="left: 10%; top: 50%"></textarea>
<p id="words" style="left: 10%; top: 70%">Some words to select.</p>"""
INPUT = {"name": (0.2, 0.15), "secret": (0.2, 0.35), "story": (0.2, 0.55)}  # where they are, as parts of the picture

# Every frame of it is another picture, as fast as the browser can.
RESTLESS = """<!doctype html><title>Restless</title><canvas id="c" width="1500" height="850"></canvas><script>
  const pen = c.getContext("2d");
  (function draw() {
    for (let n = 0; n < 400; n++) {
      pen.fillStyle = `hsl(${Math.random() * 360} 90% 50%)`;
      pen.fillRect(Math.random() * 1500, Math.random() * 850, 40, 40);
    }
    requestAnimationFrame(draw);
  })();
</script>"""


@pytest.fixture(scope="module", autouse=True)
def _pages(site: Site) -> None:
    site.pages["/colour"] = lambda query: html(f"<title>{query['of']}</title><body style='background:{query['of']}'>")
    site.pages["/form"] = lambda query: html(FORM)
    site.pages["/restless"] = lambda query: html(RESTLESS)


class Agent(Cdp):
    """The agent's own client; `page` is its session with the first page."""

    page: str


@pytest_asyncio.fixture(loop_scope="session")
async def agent(lease: Lease) -> AsyncIterator[Agent]:
    async with Agent(lease.cdp_url) as agent:
        await agent.call("Target.getTargets")  # this makes it a client of the browser, not of the page
        agent.page = await agent.attach(lease.granted.page_id)
        yield agent


async def show(agent: Agent, url: str) -> None:
    await agent.open(url, session=agent.page)


async def run(agent: Agent, expression: str) -> Any:
    return await agent.run(expression, session=agent.page)


def connections(runner: RunnerProcess) -> int:
    """Sockets that the runner has open, but for those that it keeps ready in batches of eight."""
    return len(os.listdir(f"/proc/{runner.pid}/fd"))


# --- Watching -------------------------------------------------------------------------------------------------------


async def test_a_viewer_sees_the_page_and_how_it_changes(lease: Lease, agent: Agent, site: Site) -> None:
    await show(agent, site.url("/colour?of=red"))
    async with Watcher(lease) as watcher:
        await watcher.sees(RED)
        hello = watcher.said[0]
        assert (hello["type"], hello["mode"]) == ("hello", "view")
        assert set(hello) == {"type", "mode", "title", "url", "width", "height"}
        await watcher.told("page", title="red", url=site.url("/colour?of=red"))

        await run(agent, "document.body.style.background = 'green'; document.title = 'Grown'")
        await watcher.sees(GREEN)
        await watcher.told("page", title="Grown")
        await show(agent, site.url("/colour?of=blue", host="localhost"))
        await watcher.sees(BLUE)


async def test_the_picture_is_the_whole_viewport_which_stays_as_it_was(lease: Lease, agent: Agent, site: Site) -> None:
    await show(agent, site.url("/colour?of=red"))
    look = "[innerWidth, innerHeight, devicePixelRatio, screen.width, document.visibilityState]"
    before = await run(agent, look)
    async with Watcher(lease) as watcher:
        await watcher.sees(RED)
        state = await watcher.told("page", width=before[0], height=before[1])
        width, height = dimensions(watcher.frames[-1])

        assert width <= 1280 and height <= 800
        assert abs(width / height - state["width"] / state["height"]) < 0.01
        assert await run(agent, look) == before


async def test_whoever_comes_later_sees_a_page_that_does_not_change(lease: Lease, agent: Agent, site: Site) -> None:
    await show(agent, site.url("/colour?of=red"))
    async with Watcher(lease) as first:
        await first.sees(RED)
        async with Watcher(lease, "control") as second:
            await second.sees(RED)
            state = (await first.told("page", title="red", width=1512.0)) | {"type": "hello", "mode": "control"}
            assert second.said[0] == state


async def test_an_agent_that_has_done_nothing_yet_can_be_watched(lease: Lease) -> None:
    async with Watcher(lease) as watcher:
        await watcher.sees((255, 255, 255))
        assert (await watcher.told("page", url="about:blank"))["title"] == "about:blank"


async def test_the_view_follows_the_page_in_front_and_back(lease: Lease, agent: Agent, site: Site) -> None:
    await show(agent, site.url("/colour?of=red"))
    async with Watcher(lease) as watcher:
        await watcher.sees(RED)
        made = await agent.call("Target.createTarget", {"url": site.url("/colour?of=green")})
        await watcher.sees(GREEN)
        await agent.call("Target.activateTarget", {"targetId": lease.granted.page_id})
        await watcher.sees(RED)
        await agent.call("Target.activateTarget", made)
        await watcher.sees(GREEN)
        watcher.said.clear()
        await agent.call("Target.closeTarget", made)
        await watcher.sees(RED)
        await watcher.told("page", title="red")
        await run(agent, f"void window.open({site.url('/colour?of=blue')!r})")
        await watcher.sees(BLUE)


async def test_a_window_of_another_context_is_followed_and_left_again(lease: Lease, agent: Agent, site: Site) -> None:
    """Both windows are visible to Chromium; the first may have changed meanwhile."""
    await show(agent, site.url("/colour?of=red"))
    async with Watcher(lease) as watcher:
        await watcher.sees(RED)
        context = await agent.call("Target.createBrowserContext")
        await agent.call("Target.createTarget", {"url": site.url("/colour?of=green"), **context})
        await watcher.sees(GREEN)
        for colour in ("black", "white", "black", "white", "black", "blue"):
            await run(agent, f"document.body.style.background = {colour!r}; new Promise(requestAnimationFrame)")
        await agent.call("Target.disposeBrowserContext", context)
        await watcher.sees(BLUE)


async def test_frames_come_at_a_pace_and_the_last_one_is_complete(lease: Lease, agent: Agent, site: Site) -> None:
    await show(agent, site.url("/restless"))
    async with Watcher(lease) as watcher:
        await watcher.until(lambda: len(watcher.frames) > 60, what="sixty frames")
        began = asyncio.get_running_loop().time()
        seen = len(watcher.frames)
        await watcher.until(lambda: len(watcher.frames) >= seen + 40, what="forty frames")
        assert asyncio.get_running_loop().time() - began > 40 * 0.05 * 0.8

        await run(agent, "document.body.innerHTML = ''; document.body.style.background = 'green'; 0")
        await watcher.sees(GREEN)


async def test_a_viewer_that_does_not_read_holds_up_nobody_and_gets_the_newest_picture(
    runner: RunnerProcess, lease: Lease, agent: Agent, site: Site
) -> None:
    await show(agent, site.url("/restless"))
    narrow = socket.create_connection(("127.0.0.1", runner.port))
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.setblocking(False)
    async with Watcher(lease) as quick, Watcher(lease, sock=narrow, max_queue=1) as slow:
        await slow.until(lambda: slow.frames, what="a first frame")
        slow.socket.transport.pause_reading()
        seen = len(quick.frames)
        await quick.until(lambda: len(quick.frames) > seen + 60, what="sixty frames for the other")
        assert await run(agent, "1 + 1") == 2
        await show(agent, site.url("/colour?of=green"))
        await quick.sees(GREEN)

        before = len(slow.frames)
        slow.socket.transport.resume_reading()
        await slow.sees(GREEN)
        assert len(slow.frames) - before < 30  # the rest was dropped, not kept for it
    assert int(status_of(runner.pid)["VmRSS"].split()[0]) < 400 * 1024  # kB


async def test_there_is_room_for_some_viewers_and_the_next_is_told_so(lease: Lease) -> None:
    async with contextlib.AsyncExitStack() as stack:
        viewers = [await stack.enter_async_context(Watcher(lease)) for _ in range(MAX_VIEWERS)]
        async with Watcher(lease) as late:
            assert await late.closed() == LATER
            assert late.said == late.frames == []
        for viewer in viewers:
            await viewer.until(lambda viewer=viewer: viewer.frames, what="a frame")
        async with Watcher(lease, "control") as operator:  # whom mere watchers don't keep out
            await operator.until(lambda: operator.frames, what="a frame")


async def test_the_view_outlives_a_page_that_crashes(lease: Lease, agent: Agent, site: Site) -> None:
    await show(agent, site.url("/colour?of=red"))
    async with Watcher(lease) as watcher:
        await watcher.sees(RED)
        await agent.call("Inspector.enable", session=agent.page)
        crash = asyncio.create_task(agent.call("Page.crash", session=agent.page))
        await agent.event("Inspector.targetCrashed")
        crash.cancel()
        await agent.call("Page.navigate", {"url": site.url("/colour?of=green")}, session=agent.page)
        await watcher.sees(GREEN)


# --- Steering -------------------------------------------------------------------------------------------------------


async def test_control_types_into_a_form(lease: Lease, agent: Agent, site: Site) -> None:
    await show(agent, site.url("/form"))
    async with Watcher(lease, "control") as operator:
        await operator.told("hello", mode="control")
        await operator.sees(BLUE)
        await operator.click(*INPUT["name"])
        for key in "Ada":
            await operator.press(key, f"Key{key.upper()}", ord(key.upper()))
        await operator.send("text", text=" Lovelace, 数学者")
        await operator.press("Backspace", "Backspace", 8)
        await operator.click(*INPUT["story"])
        await operator.press("1", "Digit1", 49)
        await operator.press("Enter", "Enter", 13)
        await operator.press("2", "Digit2", 50)

        async def typed() -> bool:
            return await run(agent, "[document.all.name.value, story.value]") == ["Ada Lovelace, 数学", "1\n2"]

        await until(typed, what="the typing")
        watched = await run(agent, "document.activeElement.id")
        assert watched == "story"


async def test_control_points_where_the_picture_shows_it(lease: Lease, agent: Agent, site: Site) -> None:
    await show(agent, site.url("/form"))
    watch = """const seen = []; for (const kind of ["mousedown", "mouseup", "dblclick", "contextmenu", "wheel"])
      addEventListener(kind, e => seen.push([e.type, e.button, e.buttons, Math.round(e.clientX / innerWidth * 100),
        Math.round(e.clientY / innerHeight * 100), e.shiftKey, e.deltaY || 0]), {passive: true}); 0"""
    await run(agent, f"globalThis.seen = (() => {{ {watch}; return seen }})(); 0")
    async with Watcher(lease, "control") as operator:
        await operator.until(lambda: operator.frames, what="a picture")
        await operator.send("mouse", **{**mouse("down", 0.25, 0.8), "modifiers": 8})
        await operator.send("mouse", **mouse("up", 0.75, 0.9))
        await operator.send("mouse", **{**mouse("down", 1, 1), "button": "right", "buttons": 2})
        await operator.send("wheel", x=0.5, y=0.5, dx=0, dy=120, modifiers=0)

        async def seen() -> Any:
            found = await run(agent, "seen")
            return found if any(event[0] == "wheel" for event in found) else None

        events = await until(seen, what="the wheel")
    assert events == [
        ["mousedown", 0, 1, 25, 80, True, 0],
        ["mouseup", 0, 0, 75, 90, False, 0],
        ["mousedown", 2, 2, 100, 100, False, 0],
        ["contextmenu", 2, 2, 100, 100, False, 0],
        ["wheel", 0, 0, 50, 50, False, 120],
    ]


@pytest.mark.parametrize("modifier", [2, 4], ids=["ctrl", "command"])
async def test_shortcuts_do_what_they_do_in_a_browser(lease: Lease, agent: Agent, site: Site, modifier: int) -> None:
    await show(agent, site.url("/form"))
    async with Watcher(lease, "control") as operator:
        await operator.sees(BLUE)
        await operator.click(*INPUT["name"])
        await operator.send("text", text="to be replaced")
        await operator.press("a", "KeyA", 65, modifier)
        await operator.send("copy")
        await operator.press("X", "KeyX", 88, 8)
        assert (await operator.told("clipboard"))["text"] == "to be replaced"

        async def replaced() -> bool:
            return bool(await run(agent, "document.all.name.value") == "X")

        await until(replaced, what="the replacement")


async def test_only_who_asks_gets_the_selection_and_no_password_is_told(lease: Lease, agent: Agent, site: Site) -> None:
    await show(agent, site.url("/form"))
    # What the page makes of its own functions must not matter.
    await run(agent, "getSelection = document.getSelection = () => 'forged'; getSelection().toString = () => 'forged'")
    async with Watcher(lease, "control") as operator, Watcher(lease, "control") as other:
        await operator.until(lambda: operator.frames, what="a picture")
        await run(agent, "window.find('words to'); 0")
        await operator.send("copy")
        assert (await operator.told("clipboard"))["text"] == "words to"
        operator.said.clear()
        await operator.click(*INPUT["secret"])
        await operator.send("text", text="hunter2")
        await operator.press("a", "KeyA", 65, 2)
        await operator.send("copy")
        assert "hunter2" not in (await operator.told("clipboard"))["text"]
        assert all(message["type"] != "clipboard" for message in other.said)


async def test_input_goes_to_the_page_in_front(lease: Lease, agent: Agent, site: Site) -> None:
    await show(agent, site.url("/colour?of=red"))
    async with Watcher(lease, "control") as operator:
        await operator.sees(RED)
        form = await agent.new_page(site.url("/form"))
        await operator.sees(BLUE)
        await operator.click(*INPUT["name"])
        await operator.press("z", "KeyZ", 90)

        async def typed() -> bool:
            return bool(await agent.run("document.all.name.value", session=form) == "z")

        await until(typed, what="the typing")


async def test_a_page_that_hangs_keeps_nobody_from_another_one(lease: Lease, agent: Agent, site: Site) -> None:
    await show(agent, site.url("/colour?of=red"))
    async with Watcher(lease, "control") as operator:
        await operator.sees(RED)
        hanging = asyncio.create_task(run(agent, "for (;;);"))
        await operator.click(0.5, 0.5)
        await operator.send("copy")
        form = await agent.new_page(site.url("/form"))
        await operator.sees(BLUE)
        await operator.click(*INPUT["name"])
        await operator.press("z", "KeyZ", 90)

        async def typed() -> bool:
            return bool(await agent.run("document.all.name.value", session=form) == "z")

        await until(typed, what="the typing", seconds=30)
        hanging.cancel()


INPUTS = [
    {"type": "mouse", **mouse("down", 0.5, 0.5)},
    {"type": "key", **keystroke("a")},
    {"type": "text", "text": "x"},
    {"type": "copy"},
    {"type": "hello"},
]


@pytest.mark.parametrize("message", [*map(json.dumps, INPUTS), "", "{", b"\0"], ids=lambda message: str(message)[:24])
async def test_whoever_may_only_watch_is_cut_off_when_it_sends_anything(shared: Lease, message: str | bytes) -> None:
    async with Watcher(shared) as watcher:
        await watcher.until(lambda: watcher.frames, what="a picture")
        await watcher.socket.send(message)

        assert await watcher.closed() == REFUSED
        assert "watching only" in (watcher.socket.close_reason or "")


async def test_a_viewer_changes_nothing_in_the_page(lease: Lease, agent: Agent, site: Site) -> None:
    await show(agent, site.url("/form"))
    await run(agent, "document.all.name.focus(); globalThis.events = 0; for (const kind of ['mousedown', 'keydown', "
              "'input']) addEventListener(kind, () => events++); 0")  # fmt: skip
    for message in INPUTS:
        async with Watcher(lease) as watcher:
            await watcher.until(lambda watcher=watcher: watcher.frames, what="a picture")
            await watcher.socket.send(json.dumps(message))
            assert await watcher.closed() == REFUSED
    async with Watcher(lease, "control") as operator:
        await operator.until(lambda: operator.frames, what="a picture")
        await operator.press("k", "KeyK", 75)

        async def typed() -> bool:
            return bool(await run(agent, "document.all.name.value") == "k")

        await until(typed, what="the typing of who may")
    assert await run(agent, "events") == 2


@pytest.mark.parametrize(
    "message",
    [
        "",
        "null",
        "[1]",
        "{",
        '{"type": "mouse"}',
        '{"type": "eval", "text": "1"}',
        json.dumps({"type": "mouse", **mouse("down", 0.5, 0.5)}).replace("0.5", "NaN", 1),
        json.dumps({"type": "mouse", **mouse("down", 1.01, 0.5)}),
        json.dumps({"type": "text", "text": "x" * 50_001}),
        b"binary",
        "[" * 100_000,
    ],
    ids=lambda message: str(message)[:24],
)
async def test_whoever_steers_with_nonsense_is_cut_off(shared: Lease, message: str | bytes) -> None:
    async with Watcher(shared, "control") as operator:
        await operator.socket.send(message)

        assert await operator.closed() == REFUSED


async def test_a_message_that_is_too_long_is_not_read(shared: Lease) -> None:
    async with Watcher(shared, "control") as operator:
        with contextlib.suppress(websockets.ConnectionClosed):
            await operator.socket.send("x" * (MAX_MESSAGE + 1))

        assert await operator.closed() == 1009


async def test_too_much_input_is_cut_off(shared: Lease) -> None:
    async with Watcher(shared, "control") as operator:
        with contextlib.suppress(websockets.ConnectionClosed):
            for _ in range(2 * int(INPUTS_AT_ONCE)):
                await operator.move(0.5, 0.5)

        assert await operator.closed() == REFUSED


# --- The door -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "http://127.0.0.1", "https://127.0.0.1:8000"])
@pytest.mark.parametrize("mode", ["view", "control"])
async def test_pages_of_others_are_refused_before_the_upgrade(
    runner: RunnerProcess, shared: Lease, origin: str, mode: str
) -> None:
    answer = await ask(runner, live_path(shared, mode), **UPGRADE, Origin=origin)

    assert answer.status_code == 403
    assert is_envelope(answer, "FORBIDDEN")


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8000", "http://trusted.example"])
async def test_our_own_page_is_let_in_and_those_that_the_operator_trusts(shared: Lease, origin: str) -> None:
    async with Watcher(shared, origin=origin) as watcher:
        await watcher.told("hello")


async def test_the_page_may_show_a_browser_but_not_drive_it_over_cdp(runner: RunnerProcess, shared: Lease) -> None:
    assert (await ask(runner, shared.cdp_path, **UPGRADE, Origin="http://127.0.0.1:8000")).status_code == 403


async def test_a_link_opens_its_own_door_only(runner: RunnerProcess, shared: Lease) -> None:
    granted = shared.granted
    for capability in (granted.live_view, granted.live_control):
        for path in (f"ws/page/{granted.page_id}", "json/list"):
            assert (await ask(runner, f"/api/v1/cdp/{capability}/{path}", **UPGRADE)).status_code == 404
    for capability in (granted.profile, "r1-" + "0" * 48, "r1", ""):
        answer = await ask(runner, f"/api/v1/live/{capability}", **UPGRADE)
        assert answer.status_code == 404
        assert is_envelope(answer, "NOT_FOUND")


async def test_without_an_upgrade_it_says_what_is_spoken_here(runner: RunnerProcess, shared: Lease) -> None:
    answer = await ask(runner, live_path(shared))

    assert answer.status_code == 426
    assert is_envelope(answer, "BAD_REQUEST")


# --- The end --------------------------------------------------------------------------------------------------------


async def test_viewers_are_told_when_the_session_ends_and_the_links_are_dead(runner: RunnerProcess) -> None:
    lease = await runner.grant()
    async with Watcher(lease) as watcher, Watcher(lease, "control") as operator:
        await watcher.until(lambda: watcher.frames, what="a picture")
        await lease.release()

        for viewer in (watcher, operator):
            await viewer.told("ended", reason="deleted")
            assert await viewer.closed() == ENDED
    for mode in ("view", "control"):
        assert (await ask(runner, live_path(lease, mode), **UPGRADE)).status_code == 404
        with pytest.raises(websockets.InvalidStatus, match="404"):
            await connect(live_url(lease, mode), proxy=None)


async def test_they_are_told_why_it_ended(runner: RunnerProcess) -> None:
    closing, expiring = await runner.grant(), await runner.grant(ttl_seconds=3)
    async with Watcher(closing) as first, Watcher(expiring) as second, Cdp(closing.cdp_url) as agent:
        await first.told("hello")
        await agent.call("Browser.close")

        await first.told("ended", reason="closed")
        await second.told("ended", reason="expired")
        assert (await first.closed(), await second.closed()) == (ENDED, ENDED)


async def test_nothing_is_left_of_viewers_that_are_gone(runner: RunnerProcess, lease: Lease, agent: Agent) -> None:
    await run(agent, "1")
    before = connections(runner)
    for _ in range(12):
        async with Watcher(lease) as one, Watcher(lease, "control") as other:
            await one.until(lambda one=one: one.frames, what="a picture")
            await other.until(lambda other=other: other.frames, what="a picture")
    silent = await connect(live_url(lease), proxy=None)
    silent.transport.abort()  # without a goodbye

    await until(lambda: connections(runner) <= before + 8, what="the end of every connection")
    async with Watcher(lease) as again:
        await again.until(lambda: again.frames, what="a picture for the next one")


# --- The identity ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "country", "platform", "languages", "timezone"),
    [
        ("windows", "de", "Win32", ["de-DE", "de", "en-US", "en"], "Europe/Berlin"),
        ("macos", "us", "MacIntel", ["en-US", "en"], "America/New_York"),
    ],
)
async def test_the_identity_holds_while_somebody_watches_and_afterwards(
    runner: RunnerProcess, site: Site, family: str, country: str, platform: str, languages: list[str], timezone: str
) -> None:
    """The agent's client was there before, so the live view's own sessions are the newest ones."""
    site.pages["/report"] = lambda query: html(
        f"""<script src="/portrait.js"></script><script>
        fetch("/seen?" + new URLSearchParams({{of: "{query["of"]}", what: JSON.stringify(portrait())}})).then(() => {{
          if ({query["of"]!r} === "first") for (let n = 0; n < 3; n++) window.open("/report?of=opened" + n); }})
        </script>"""
    )
    seen: dict[str, Any] = {}
    site.pages["/seen"] = lambda query: (seen.update({query["of"]: json.loads(query["what"])}), html(""))[1]

    async def visit(*expected: str, by: Cdp, url: str) -> None:
        seen.clear()
        await by.call("Page.navigate", {"url": url})
        await until(lambda: set(expected) <= set(seen), what=f"the reports of {expected}")
        for name in expected:
            portrait = seen[name]
            assert (portrait["platform"], portrait["languages"]) == (platform, languages), name
            assert (portrait["timezone"], portrait["locale"]) == (timezone, languages[0]), name
            assert "Headless" not in json.dumps(portrait) and portrait["webdriver"] is False

    async with runner.lease(os_family=family, country=country) as lease, Cdp(lease.cdp_url) as agent:
        await agent.run("1")
        async with Watcher(lease) as watcher:
            await watcher.until(lambda: watcher.frames, what="a picture")
            opened = ("first", "opened0", "opened1", "opened2")
            await visit(*opened, by=agent, url=site.url("/report?of=first"))
            for number, host in enumerate(("localhost", "127.0.0.1") * 2):
                await visit(f"again{number}", by=agent, url=site.url(f"/report?of=again{number}", host=host))

        async def is_back() -> bool:
            """Whoever looks in the milliseconds in which a session ends may see the host's own platform."""
            await agent.open(site.url("/portrait", host="localhost"))
            return bool(await agent.run("seen.platform") == platform)

        await until(is_back, what="the platform after the last viewer")
        for number, host in enumerate(("127.0.0.1", "localhost") * 2):
            await visit(f"after{number}", by=agent, url=site.url(f"/report?of=after{number}", host=host))
