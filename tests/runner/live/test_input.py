"""Who may steer a browser that it watches, and what that does."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
import websockets

from runner.live.messages import MAX_MESSAGE
from runner.live.pacing import INPUTS_AT_ONCE
from runner.live.viewer import REFUSED
from tests.fakes.site import Site
from tests.runner.harness import Lease, until
from tests.runner.live.agent import Agent, agent_of
from tests.runner.live.watcher import (
    BLUE,
    RED,
    Watcher,
    keystroke,
    mouse,
)

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

INPUT = {"name": (0.2, 0.15), "secret": (0.2, 0.35), "story": (0.2, 0.55)}  # where they are, as parts of the picture


async def test_control_types_into_a_form(shared: Lease, agent: Agent, site: Site) -> None:
    await agent.show(site.url("/form"))
    async with Watcher(shared, "control") as operator:
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
            return await agent.look("[document.all.name.value, story.value]") == ["Ada Lovelace, 数学", "1\n2"]

        await until(typed, what="the typing")
        watched = await agent.look("document.activeElement.id")
        assert watched == "story"


async def test_control_points_where_the_picture_shows_it(shared: Lease, agent: Agent, site: Site) -> None:
    await agent.show(site.url("/form"))
    watch = """const seen = []; for (const kind of ["mousedown", "mouseup", "dblclick", "contextmenu", "wheel"])
      addEventListener(kind, e => seen.push([e.type, e.button, e.buttons, Math.round(e.clientX / innerWidth * 100),
        Math.round(e.clientY / innerHeight * 100), e.shiftKey, e.deltaY || 0]), {passive: true}); 0"""
    await agent.look(f"globalThis.seen = (() => {{ {watch}; return seen }})(); 0")
    async with Watcher(shared, "control") as operator:
        await operator.until(lambda: operator.frames, what="a picture")
        await operator.send("mouse", **{**mouse("down", 0.25, 0.8), "modifiers": 8})
        await operator.send("mouse", **mouse("up", 0.75, 0.9))
        await operator.send("mouse", **{**mouse("down", 1, 1), "button": "right", "buttons": 2})
        await operator.send("wheel", x=0.5, y=0.5, dx=0, dy=120, modifiers=0)

        async def seen() -> Any:
            found = await agent.look("seen")
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
async def test_shortcuts_do_what_they_do_in_a_browser(shared: Lease, agent: Agent, site: Site, modifier: int) -> None:
    await agent.show(site.url("/form"))
    async with Watcher(shared, "control") as operator:
        await operator.sees(BLUE)
        await operator.click(*INPUT["name"])
        await operator.send("text", text="to be replaced")
        await operator.press("a", "KeyA", 65, modifier)
        assert await operator.copied() == "to be replaced"
        await operator.press("X", "KeyX", 88, 8)

        async def replaced() -> bool:
            return bool(await agent.look("document.all.name.value") == "X")

        await until(replaced, what="the replacement")


async def test_only_who_asks_gets_the_selection_and_no_password_is_told(
    shared: Lease, agent: Agent, site: Site
) -> None:
    await agent.show(site.url("/form"))
    # What the page makes of its own functions must not matter.
    await agent.look("getSelection = document.getSelection = () => 'forged'; getSelection().toString = () => 'forged'")
    async with Watcher(shared, "control") as operator, Watcher(shared, "control") as other:
        await operator.until(lambda: operator.frames, what="a picture")
        await agent.look("window.find('words to'); 0")
        assert await operator.copied() == "words to"
        await operator.click(*INPUT["secret"])
        await operator.send("text", text="hunter2")
        await operator.press("a", "KeyA", 65, 2)
        assert "hunter2" not in await operator.copied()
        assert all(message["type"] != "clipboard" for message in other.said)


async def a_new_form_is_typed_into(agent: Agent, operator: Watcher, site: Site) -> None:
    form = await agent.new_page(site.url("/form"))
    await operator.sees(BLUE)
    await operator.click(*INPUT["name"])
    await operator.press("z", "KeyZ", 90)

    async def typed() -> bool:
        return bool(await agent.run("document.all.name.value", session=form) == "z")

    await until(typed, what="the typing")


async def test_input_goes_to_the_page_in_front(shared: Lease, agent: Agent, site: Site) -> None:
    await agent.show(site.url("/colour?of=red"))
    async with Watcher(shared, "control") as operator:
        await operator.sees(RED)
        await a_new_form_is_typed_into(agent, operator, site)


async def test_a_page_that_hangs_does_not_block_input_to_another_one(lease: Lease, site: Site) -> None:
    async with agent_of(lease) as agent, Watcher(lease, "control") as operator:
        await agent.show(site.url("/colour?of=red"))
        await operator.sees(RED)
        hanging = asyncio.create_task(agent.look("for (;;);"))
        await operator.click(0.5, 0.5)
        await operator.send("copy")
        await a_new_form_is_typed_into(agent, operator, site)
        hanging.cancel()


INPUTS = [
    {"type": "mouse", **mouse("down", 0.5, 0.5)},
    {"type": "key", **keystroke("a")},
    {"type": "text", "text": "x"},
    {"type": "copy"},
    {"type": "hello"},
]


@pytest.mark.parametrize("message", [*map(json.dumps, INPUTS), "", "{", b"\0"], ids=lambda message: str(message)[:24])
async def test_a_view_only_client_is_cut_off_when_it_sends_anything(shared: Lease, message: str | bytes) -> None:
    async with Watcher(shared) as watcher:
        await watcher.until(lambda: watcher.frames, what="a picture")
        await watcher.socket.send(message)

        assert await watcher.closed() == REFUSED
        assert "view-only" in (watcher.socket.close_reason or "")


async def test_a_viewer_changes_nothing_in_the_page(shared: Lease, agent: Agent, site: Site) -> None:
    await agent.show(site.url("/form"))
    await agent.look("document.all.name.focus(); globalThis.events = 0; for (const kind of ['mousedown', 'keydown', "
              "'input']) addEventListener(kind, () => events++); 0")  # fmt: skip
    for message in INPUTS:
        async with Watcher(shared) as watcher:
            await watcher.until(lambda watcher=watcher: watcher.frames, what="a picture")
            await watcher.socket.send(json.dumps(message))
            assert await watcher.closed() == REFUSED
    async with Watcher(shared, "control") as operator:
        await operator.until(lambda: operator.frames, what="a picture")
        await operator.press("k", "KeyK", 75)

        async def typed() -> bool:
            return bool(await agent.look("document.all.name.value") == "k")

        await until(typed, what="the typing of who may")
    assert await agent.look("events") == 2


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
async def test_a_client_that_sends_invalid_input_is_cut_off(shared: Lease, message: str | bytes) -> None:
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
        for _ in range(10 * int(INPUTS_AT_ONCE)):
            operator.socket.protocol.send_text(json.dumps({"type": "mouse", **mouse("move", 0.5, 0.5)}).encode())
        # In one go: what comes while the machine stands still is allowed, the more the longer that is.
        operator.socket.transport.write(b"".join(operator.socket.protocol.data_to_send()))

        assert await operator.closed() == REFUSED
