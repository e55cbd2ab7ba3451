"""The screencast of one page, with a limited frame rate; it includes the last change of a page."""

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

# The sizes are maxima; the viewport of the page does not change.
SCREENCAST: Params = {"format": "jpeg", "quality": 60, "maxWidth": 1280, "maxHeight": 800}
SETTLE_SECONDS = 0.25
RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Frame:
    jpeg: bytes
    size: PageSize


class Screencast:
    """Passes frames to `on_frame` while the page is `active`. Otherwise they are not acknowledged: Chromium pauses."""

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
        """Handle a Page.screencastFrame event."""
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
        """No frame for SETTLE_SECONDS. The last change of the page may be in a frame that Chromium dropped."""
        if self._pace.behind:
            self._begin_again()

    def _begin_again(self) -> None:
        """Restart the screencast: its first frame is the current picture."""
        self._frame_skipped = self._pace.behind = False
        self._spawn(self._restart())

    async def _restart(self) -> None:
        try:
            await self._cdp.call("Page.stopScreencast", session=self._session)
        except CdpError as error:
            log.debug("a screencast did not stop: %s", error)
        await self._start()

    async def _start(self) -> None:
        """Retry: Chromium refuses while the first document of a page, or of a new process, is loading."""
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
