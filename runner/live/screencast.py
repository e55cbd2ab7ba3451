"""The screencast of one page: started, kept at a pace, and complete when the page has come to rest."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from runner.cdp import CdpClosed, CdpConnection, CdpError, Params
from runner.live.input_commands import PageSize
from runner.live.pacing import Pace

log = logging.getLogger("browsa.runner.live")

# Sizes are only bounds: nothing here changes the page's own viewport.
SCREENCAST: Params = {"format": "jpeg", "quality": 60, "maxWidth": 1280, "maxHeight": 800}
SETTLE_SECONDS = 0.25
RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Frame:
    jpeg: bytes
    size: PageSize


class Screencast:
    """Frames go to `on_frame` while the page is in `active`. Behind it they are left unacknowledged: Chromium stops."""

    def __init__(self, cdp: CdpConnection, session: str, on_frame: Callable[[Frame], None]) -> None:
        self._cdp = cdp
        self._session = session
        self._on_frame = on_frame
        self._pace = Pace()
        self._frame_skipped = False
        self._settle: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.active = False
        self._spawn(self._start())

    def close(self) -> None:
        if self._settle is not None:
            self._settle.cancel()
        for task in self._tasks:
            task.cancel()

    def activate(self) -> None:
        self.active = True
        if self._frame_skipped:
            self._begin_again()

    def frame(self, params: Params) -> None:
        """A frame has come."""
        if not self.active:
            self._frame_skipped = True
            return
        loop = asyncio.get_running_loop()
        wait = self._pace.acknowledge_delay(loop.time())
        self._spawn(self._acknowledge(params["sessionId"], wait))
        if self._settle is not None:
            self._settle.cancel()
        self._settle = loop.call_later(SETTLE_SECONDS, self._on_settled)
        self._on_frame(Frame(base64.b64decode(params["data"]), PageSize.of(params["metadata"])))

    async def _acknowledge(self, number: int, wait: float) -> None:
        if wait:
            await asyncio.sleep(wait)
        try:
            await self._cdp.post("Page.screencastFrameAck", {"sessionId": number}, session=self._session)
        except CdpError as error:
            log.debug("a frame was not acknowledged: %s", error)

    def _on_settled(self) -> None:
        """Nothing came for a while. The page's last change may have fallen to a frame that Chromium dropped."""
        if self._pace.behind:
            self._begin_again()

    def _begin_again(self) -> None:
        """A screencast begins with the picture as it is."""
        self._frame_skipped = self._pace.behind = False
        self._spawn(self._restart())

    async def _restart(self) -> None:
        try:
            await self._cdp.call("Page.stopScreencast", session=self._session)
        except CdpError as error:
            log.debug("a screencast did not stop: %s", error)
        await self._start()

    async def _start(self) -> None:
        """Chromium refuses while a page's first document, or one of another process, is on its way: ask again."""
        tries = 0
        while True:
            try:
                await self._cdp.call("Page.startScreencast", SCREENCAST, session=self._session)
                return
            except CdpClosed:
                return
            except CdpError as error:
                if "already active" in str(error):
                    return
                log.debug("a screencast does not start yet: %s", error)
            await asyncio.sleep(RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)])
            tries += 1

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="screencast")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
