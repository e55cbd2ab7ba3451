"""Rates of frames and input, and the order of a viewer's messages. Time is an argument; no I/O."""

from __future__ import annotations

from collections import deque

FRAME_SECONDS = 0.05  # between frames: enough to control a page, and a page that always changes keeps some CPU time
INPUTS_PER_SECOND = 150.0
INPUTS_AT_ONCE = 300.0


class Pace:
    """When to acknowledge frames: Chromium sends at most three without an acknowledgement."""

    def __init__(self) -> None:
        self._next = 0.0
        self.behind = False  # acknowledgements were delayed, so Chromium may have dropped the last frame

    def acknowledge_delay(self, now: float) -> float:
        """A frame has arrived: the seconds to wait before its acknowledgement."""
        wait = max(0.0, self._next - now)
        self._next = max(now, self._next) + FRAME_SECONDS
        self.behind = self.behind or wait > 0
        return wait


class Allowance:
    """A token bucket for inputs: INPUTS_AT_ONCE at once, INPUTS_PER_SECOND on average."""

    def __init__(self, now: float) -> None:
        self._tokens = INPUTS_AT_ONCE
        self._updated = now

    def take(self, now: float) -> bool:
        self._tokens = min(INPUTS_AT_ONCE, self._tokens + (now - self._updated) * INPUTS_PER_SECOND)
        self._updated = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Outbox:
    """What is still to be sent to one viewer. Of frames and of the page's state it keeps only the newest."""

    def __init__(self) -> None:
        self._messages: deque[str] = deque()
        self._state: str | None = None
        self._frame: bytes | None = None

    def add(self, message: str) -> None:
        self._messages.append(message)

    def set_state(self, state: str) -> None:
        self._state = state

    def set_frame(self, frame: bytes) -> None:
        self._frame = frame

    def __len__(self) -> int:
        return len(self._messages) + (self._state is not None) + (self._frame is not None)

    def next(self) -> str | bytes:
        """Messages before the frame, so that a frame is shown with its title. Raises IndexError when empty."""
        if self._messages:
            return self._messages.popleft()
        if self._state is not None:
            state, self._state = self._state, None
            return state
        if self._frame is not None:
            frame, self._frame = self._frame, None
            return frame
        raise IndexError("nothing to send")
