"""Answers the JavaScript dialogs that no client can answer.

An open dialog blocks its page and all commands to it. Chromium tells only sessions with `Page.enable` of it, and only
they can answer. A client that never sent `Page.enable`, or no client at all, would wait without end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from runner.cdp import Params

GRACE_SECONDS = 0.5  # between the news for us and the news for a client
TOLD_SECONDS = 5.0  # news for a client may be older than ours

OPENING, CLOSED = "Page.javascriptDialogOpening", "Page.javascriptDialogClosed"


@dataclass(slots=True)
class _Dialog:
    """An open dialog. `timer` runs while no client was told of it."""

    session: str
    accept: bool
    timer: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


@dataclass(slots=True)
class Dialogs:
    """The open dialogs of one browser, by the frame that opened each. `answer` is called with a session and a result.

    A dialog of which a client was told is that client's while it stays connected. Others get the answers that
    Playwright gives without a listener: a page may be left, everything else is dismissed.
    """

    answer: Callable[[str, bool], None]
    _open: dict[str, _Dialog] = field(default_factory=dict)
    _told: dict[str, dict[object, float]] = field(default_factory=dict)  # which clients were told when, by the frame

    def on_event(self, method: str, params: Params, session: str) -> None:
        """An event of one of our sessions, which have `Page.enable`."""
        frame = str(params["frameId"])
        if (over := self._open.pop(frame, None)) is not None:
            over.stop()
        if method == CLOSED:
            self._told.pop(frame, None)
        elif method == OPENING:
            self._open[frame] = _Dialog(session, accept=params["type"] == "beforeunload")
            since = asyncio.get_running_loop().time() - TOLD_SECONDS
            if all(told < since for told in self._told.get(frame, {}).values()):
                self._start(frame)

    def client_told(self, client: object, frame: str | None) -> None:
        """A client gets the news of a dialog of `frame`; None: of one that is not known."""
        now = asyncio.get_running_loop().time()
        for one in list(self._open) if frame is None else [frame]:
            self._told.setdefault(one, {})[client] = now
            if one in self._open:
                self._open[one].stop()

    def client_left(self, client: object) -> None:
        """Its dialogs are ours if no other client was told of them."""
        for frame in [frame for frame, clients in self._told.items() if clients.pop(client, None) and not clients]:
            del self._told[frame]
            if frame in self._open:
                self._start(frame)

    def close(self) -> None:
        for dialog in self._open.values():
            dialog.stop()

    def _start(self, frame: str) -> None:
        self._open[frame].timer = asyncio.get_running_loop().call_later(GRACE_SECONDS, self._answer, frame)

    def _answer(self, frame: str) -> None:
        dialog = self._open.pop(frame)
        self.answer(dialog.session, dialog.accept)
