"""A live view's page as a program: it keeps what it is told and shown."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import Callable
from typing import Any

import websockets
from PIL import Image
from websockets.asyncio.client import ClientConnection, connect

from tests.patience import PATIENCE
from tests.runner.harness import Lease

Message = dict[str, Any]
Colour = tuple[int, int, int]

RED, GREEN, BLUE = (255, 0, 0), (0, 128, 0), (0, 0, 255)


class Watcher:
    """`async with Watcher(lease) as watcher:` watches; with `mode="control"` it may also steer."""

    def __init__(self, lease: Lease, mode: str = "view", **options: Any) -> None:
        self.url = live_url(lease, mode)
        self.frames: list[bytes] = []
        self.said: list[Message] = []
        self._options = {"max_size": None, "compression": None, "ping_interval": None, "close_timeout": 2} | options
        self._news = asyncio.Event()

    async def __aenter__(self) -> Watcher:
        self.socket: ClientConnection = await connect(self.url, proxy=None, open_timeout=PATIENCE, **self._options)
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.socket.close()
        await self._reader

    async def _read(self) -> None:
        try:
            async for message in self.socket:
                if isinstance(message, bytes):
                    self.frames.append(message)
                else:
                    self.said.append(json.loads(message))
                self._news.set()
        except websockets.ConnectionClosed:
            pass
        finally:
            self._news.set()

    async def send(self, type: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": type, **fields}))

    async def until(self, look: Callable[[], Any], *, what: str = "it", seconds: float = PATIENCE) -> Any:
        """The first true value of `look()`, asked whenever something has come."""
        try:
            async with asyncio.timeout(seconds):
                while not (value := look()):
                    self._news.clear()
                    await self._news.wait()
                return value
        except TimeoutError as error:
            raise AssertionError(f"{what} did not happen; last heard: {self.said[-3:]}") from error

    async def told(self, type: str, **fields: Any) -> Message:
        """The first message, past or to come, that has these fields."""
        wanted = {"type": type, **fields}.items()
        found: Message = await self.until(
            lambda: next((message for message in self.said if wanted <= message.items()), None), what=str(wanted)
        )
        return found

    async def copied(self) -> str:
        """The selected text. Asks again without an answer: the runner does not wait for a slow page."""
        before = len(self._clips())
        for _ in range(3):
            await self.send("copy")
            with contextlib.suppress(AssertionError):
                clips = await self.until(lambda: self._clips()[before:], what="a copy", seconds=PATIENCE / 3)
                return str(clips[0])
        raise AssertionError("no answer has the selection")

    def _clips(self) -> list[str]:
        return [message["text"] for message in self.said if message["type"] == "clipboard"]

    async def sees(self, colour: Colour) -> None:
        """Until the newest picture has this colour in its middle."""
        await self.until(lambda: self.frames and near(middle(self.frames[-1]), colour), what=f"a picture in {colour}")

    async def closed(self) -> int | None:
        """The close code, once the runner has hung up."""
        await asyncio.wait_for(self.socket.wait_closed(), PATIENCE)
        return self.socket.close_code

    async def click(self, x: float, y: float) -> None:
        for action in ("move", "down", "up"):
            await self.send("mouse", **mouse(action, x, y))

    async def press(self, key: str, code: str = "", key_code: int = 0, modifiers: int = 0) -> None:
        for down in (True, False):
            await self.send("key", **keystroke(key, code, key_code, modifiers, down=down))


def live_path(lease: Lease, mode: str = "view") -> str:
    return f"/api/v1/live/{lease.granted.live_control if mode == 'control' else lease.granted.live_view}"


def live_url(lease: Lease, mode: str = "view") -> str:
    return f"ws://127.0.0.1:{lease.runner.port}{live_path(lease, mode)}"


def mouse(action: str, x: float, y: float) -> Message:
    pressed = action == "down"
    return {
        "action": action,
        "x": x,
        "y": y,
        "button": "none" if action == "move" else "left",
        "buttons": int(pressed),
        "clicks": int(action != "move"),
        "modifiers": 0,
    }


def keystroke(key: str, code: str = "", key_code: int = 0, modifiers: int = 0, *, down: bool = True) -> Message:
    return {
        "down": down,
        "key": key,
        "code": code,
        "key_code": key_code,
        "location": 0,
        "repeat": False,
        "modifiers": modifiers,
    }


def middle(jpeg: bytes) -> Colour:
    with Image.open(io.BytesIO(jpeg)) as image:
        red, green, blue = image.convert("RGB").getpixel((image.width // 2, image.height // 2))  # type: ignore[misc]
    return red, green, blue


def dimensions(jpeg: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(jpeg)) as image:
        return image.size


def near(seen: Colour, wanted: Colour) -> bool:
    """JPEG is not exact."""
    return all(abs(one - other) < 24 for one, other in zip(seen, wanted, strict=True))
