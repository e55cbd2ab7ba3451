"""How fast frames may come and input may be sent; what a viewer gets next. Time is passed in: no I/O here."""

from __future__ import annotations

from collections import deque

FRAME_SECONDS = 0.05  # between frames: enough to watch and to steer by, and a page that never rests can do its work
INPUTS_PER_SECOND = 150.0
INPUTS_AT_ONCE = 300.0


class Pace:
    """When to acknowledge frames: Chromium sends no more than three that are not."""

    def __init__(self) -> None:
        self._next = 0.0
        self.behind = False  # since frames had to wait, Chromium may have dropped the last one

    def acknowledge_delay(self, now: float) -> float:
        """The seconds to wait before the frame that has come is acknowledged."""
        wait = max(0.0, self._next - now)
        self._next = max(now, self._next) + FRAME_SECONDS
        self.behind = self.behind or wait > 0
        return wait


class Allowance:
    """So many inputs at once, and so many a second (a token bucket)."""

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
    """What one viewer has yet to get. Of frames and of the page's state only the newest is kept for it."""

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
        """Words before pictures, so that a picture is shown under its own title. Raises IndexError when empty."""
        if self._messages:
            return self._messages.popleft()
        if self._state is not None:
            state, self._state = self._state, None
            return state
        if self._frame is not None:
            frame, self._frame = self._frame, None
            return frame
        raise IndexError("nothing to send")
