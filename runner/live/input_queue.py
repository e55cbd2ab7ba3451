"""Does in the page in front what those do who may steer, one thing after another."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from runner.cdp import CdpConnection, CdpError
from runner.live.front_page import Page
from runner.live.input_commands import Size, command
from runner.live.messages import Copy, Input, Mouse, say
from runner.live.viewer import LATER, Viewer

INPUT_SECONDS = 2.0  # what a page may take for one input before the next is sent all the same
MAX_WAITING = 256  # inputs


class Aim(NamedTuple):
    """The page that the viewers see, and how large it is."""

    cdp: CdpConnection
    page: Page
    size: Size


class Hands:
    """`aim` says what is in front, or None while that has no picture: then nobody can have aimed at it."""

    def __init__(self, aim: Callable[[], Aim | None]) -> None:
        self._aim = aim
        self._waiting: deque[tuple[Viewer, Input]] = deque()
        self._news = asyncio.Event()

    def take(self, viewer: Viewer, done: Input) -> None:
        """Do it soon. A move that was not passed on yet gives way to the next one."""
        if self._waiting and _is_move(done) and _is_move(self._waiting[-1][1]):
            self._waiting.pop()
        if len(self._waiting) >= MAX_WAITING:
            viewer.leave(LATER, "the page does not keep up with the input")
            return
        self._waiting.append((viewer, done))
        self._news.set()

    async def work(self) -> None:
        """Pass inputs on for ever, each when the page has seen to the one before it."""
        while True:
            while not self._waiting:
                self._news.clear()
                await self._news.wait()
            viewer, done = self._waiting.popleft()
            if (aim := self._aim()) is None:
                continue
            with suppress(CdpError):  # the page went away, or takes its time
                if isinstance(done, Copy):
                    viewer.say(say("clipboard", text=await _selected(aim)))
                else:
                    method, params = command(done, aim.size)
                    await aim.cdp.call(method, params, session=aim.page.session, timeout=INPUT_SECONDS)


def _is_move(done: Input) -> bool:
    return isinstance(done, Mouse) and done.action == "move"


async def _selected(aim: Aim) -> str:
    """The text that is selected in the page. Raises CdpError."""
    cdp, page, size = aim
    wanted = {"frameId": page.target_id, "worldName": "live-view"}  # by its name it is found again
    world = await cdp.call("Page.createIsolatedWorld", wanted, session=page.session, timeout=INPUT_SECONDS)
    method, params = command(Copy(), size)
    params = {**params, "contextId": world["executionContextId"]}
    answer = await cdp.call(method, params, session=page.session, timeout=INPUT_SECONDS)
    text = answer.get("result", {}).get("value", "")
    return text if isinstance(text, str) else ""
