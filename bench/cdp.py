"""The cost of the gateway: the same browser, driven through the gateway and directly, in alternating turns."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Awaitable, Callable

from websockets.asyncio.client import ClientConnection, connect

from bench.subject import Agent, Direct, Subject
from bench.table import Row, median

TURNS = 12
ROUND_TRIPS_A_TURN = 250
SCREENSHOTS_A_TURN = 3

# Noise does not compress: 590 by 590 pixels make a PNG of slightly more than 1 MB.
NOISE = """
document.body.style.margin = 0;
const canvas = document.createElement('canvas'); canvas.width = canvas.height = 590;
document.body.replaceChildren(canvas);
const context = canvas.getContext('2d'), image = context.createImageData(590, 590);
for (let at = 0; at < image.data.length; at += 65536) crypto.getRandomValues(image.data.subarray(at, at + 65536));
for (let at = 3; at < image.data.length; at += 4) image.data[at] = 255;
context.putImageData(image, 0, 0);
"""
SCREENSHOT = {"format": "png", "clip": {"x": 0, "y": 0, "width": 590, "height": 590, "scale": 1}}


class Client:
    """A minimal page-level CDP client."""

    def __init__(self, websocket: ClientConnection) -> None:
        self._websocket = websocket
        self._id = 0

    async def call(self, method: str, **params: object) -> dict[str, object]:
        self._id += 1
        await self._websocket.send(json.dumps({"id": self._id, "method": method, "params": params}))
        while True:
            message = json.loads(await self._websocket.recv())
            if message.get("id") == self._id:
                return dict(message["result"])


async def measure(subject: Subject) -> list[Row]:
    """Round trip and screenshot, medians over interleaved turns."""
    async with subject.agent() as agent:
        direct = await Direct.find(subject, agent)
        try:
            return await _compare(agent, direct)
        finally:
            direct.close()


async def _compare(agent: Agent, direct: Direct) -> list[Row]:
    page = agent.cdp_url.rpartition("/")[2]
    options = {"compression": None, "max_size": None, "ping_interval": None, "proxy": None}
    url = f"ws://127.0.0.1:{direct.port}/devtools/page/{page}"
    async with (
        connect(agent.cdp_url, **options) as gateway,  # type: ignore[arg-type]
        connect(url, sock=await direct.dial(), **options) as plain,  # type: ignore[arg-type]
    ):
        through, straight = Client(gateway), Client(plain)
        await through.call("Runtime.evaluate", expression=NOISE)
        size = len(base64.b64decode(str((await through.call("Page.captureScreenshot", **SCREENSHOT))["data"])))
        if size < 1_000_000:
            raise ValueError(f"the screenshot has only {size} bytes")
        trips = await _turns(through, straight, _round_trip, ROUND_TRIPS_A_TURN)
        shots = await _turns(through, straight, _screenshot, SCREENSHOTS_A_TURN)
    return [
        Row("CDP round trip through the gateway", trips[0], "ms", trips[1], "direct", target=1.3, of_ratio=True),
        Row("1 MB screenshot through the gateway", shots[0], "ms", shots[1], "direct", target=1.2, of_ratio=True),
    ]


async def _round_trip(client: Client) -> None:
    await client.call("Runtime.evaluate", expression="1")


async def _screenshot(client: Client) -> None:
    await client.call("Page.captureScreenshot", **SCREENSHOT)


async def _turns(
    through: Client, straight: Client, work: Callable[[Client], Awaitable[None]], count: int
) -> tuple[float, float]:
    """Median milliseconds of `work` through the gateway and directly. Turns alternate: drift affects both equally."""
    taken: dict[int, list[float]] = {0: [], 1: []}
    for turn in range(TURNS):
        for which in (0, 1) if turn % 2 else (1, 0):
            client = (through, straight)[which]
            for _ in range(count):
                started = time.perf_counter()
                await work(client)
                taken[which].append((time.perf_counter() - started) * 1000)
    return median(taken[0]), median(taken[1])
