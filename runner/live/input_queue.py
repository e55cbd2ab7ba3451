"""Sends the input of the controlling viewers to the active page, one event at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from runner.cdp import CdpConnection, CdpError
from runner.live.input_commands import PageSize, command
from runner.live.messages import Copy, Input, Mouse, encode_message
from runner.live.open_pages import OpenPage
from runner.live.viewer import LATER, Viewer

INPUT_SECONDS = 2.0  # the longest wait for one input before the next is sent
MAX_WAITING = 256  # inputs


class InputTarget(NamedTuple):
    """The page that the viewers see, and its size."""

    cdp: CdpConnection
    page: OpenPage
    size: PageSize


class InputQueue:
    """`target` returns the active page, or None before its first frame; then input is dropped."""

    def __init__(self, target: Callable[[], InputTarget | None]) -> None:
        self._target = target
        self._waiting: deque[tuple[Viewer, Input]] = deque()
        self._added = asyncio.Event()

    def put(self, viewer: Viewer, event: Input) -> None:
        """Add an event. It replaces a waiting mouse move if both are moves."""
        if self._waiting and _is_mouse_move(event) and _is_mouse_move(self._waiting[-1][1]):
            self._waiting.pop()
        if len(self._waiting) >= MAX_WAITING:
            viewer.close(LATER, "the page does not keep up with the input")
            return
        self._waiting.append((viewer, event))
        self._added.set()

    async def run(self) -> None:
        """Send events until cancelled, each after the page has answered the one before it."""
        while True:
            while not self._waiting:
                self._added.clear()
                await self._added.wait()
            viewer, event = self._waiting.popleft()
            if (target := self._target()) is None:
                continue
            with suppress(CdpError):  # the page was closed, or did not answer in time
                if isinstance(event, Copy):
                    viewer.send(encode_message("clipboard", text=await _selected_text(target)))
                else:
                    method, params = command(event, target.size)
                    await target.cdp.call(method, params, session=target.page.session, timeout=INPUT_SECONDS)


def _is_mouse_move(event: Input) -> bool:
    return isinstance(event, Mouse) and event.action == "move"


async def _selected_text(target: InputTarget) -> str:
    """The selected text of the page. Raises CdpError."""
    cdp, page, size = target
    wanted = {"frameId": page.target_id, "worldName": "live-view"}  # the same name returns the same world
    world = await cdp.call("Page.createIsolatedWorld", wanted, session=page.session, timeout=INPUT_SECONDS)
    method, params = command(Copy(), size)
    params = {**params, "contextId": world["executionContextId"]}
    answer = await cdp.call(method, params, session=page.session, timeout=INPUT_SECONDS)
    text = answer.get("result", {}).get("value", "")
    return text if isinstance(text, str) else ""
