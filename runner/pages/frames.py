"""What stands in frames that the page's own script world can't enter: those of other origins, in whatever process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from runner.cdp import CdpError, Params
from runner.pages.scripts import frame_expression
from runner.pages.tab import WORLD, Tab
from runner.wire import PageRequest

MAX_FRAMES = 50
MAX_DEPTH = 5
MAX_SECONDS = 5.0
FIELDS = ("text", "links", "flat")

Found = dict[str, Any]


async def filled(tab: Tab, request: PageRequest, found: Found) -> Found:
    """`found` with what its frames hold in place of their marks. Raises TabGone and CdpError."""
    if not any(_marks(found)):
        return found
    frames: dict[tuple[int, ...], Found] = {}
    try:
        async with asyncio.timeout(MAX_SECONDS):
            await _collect(tab, request, frames)
    except TimeoutError:
        pass  # a frame whose script doesn't rest is left out
    return {**found, **{name: _flattened(found[name], name, frames, 0) for name in FIELDS if found.get(name)}}


def _marks(found: Found) -> Iterator[Params]:
    return (part for name in FIELDS for part in found.get(name) or () if isinstance(part, dict))


def _flattened(parts: list[Any], name: str, frames: dict[tuple[int, ...], Found], depth: int) -> list[str]:
    flat: list[str] = []
    for part in parts:
        if isinstance(part, str):
            flat.append(part)
        elif (inner := frames.get(tuple(part["frame"]))) is not None and depth < MAX_DEPTH:
            flat += _flattened(inner.get(name) or [], name, frames, depth + 1)
    return flat


async def _collect(tab: Tab, request: PageRequest, found: dict[tuple[int, ...], Found]) -> None:
    """Into `found`, by their paths: the indices of each frame among its parent's."""
    expression = frame_expression(request)
    sessions = [tab.session]
    read = 0
    while sessions and read < MAX_FRAMES:
        session = sessions.pop(0)
        try:
            sessions += await _inner(tab, session)
            tree = (await tab.call("Page.getFrameTree", session=session))["frameTree"]
        except CdpError:  # the frame has gone meanwhile
            continue
        for frame in _ids(tree):
            if frame == tab.frame or read >= MAX_FRAMES:
                continue
            read += 1
            value = await _read(tab, session, frame, expression)
            if value is not None:
                found[tuple(value["path"])] = value


async def _inner(tab: Tab, session: str) -> list[str]:
    """Sessions of the frames of `session` that have processes of their own."""
    known = len(tab.inner)
    attach = {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": True}
    await tab.call("Target.setAutoAttach", attach, session=session)
    return [one["sessionId"] for one in tab.inner[known:] if one["targetInfo"]["type"] == "iframe"]


def _ids(tree: Params) -> Iterator[str]:
    yield tree["frame"]["id"]
    for child in tree.get("childFrames", ()):
        yield from _ids(child)


async def _read(tab: Tab, session: str, frame: str, expression: str) -> Found | None:
    try:
        world = await tab.call("Page.createIsolatedWorld", {"frameId": frame, **WORLD}, session=session)
        script = {"expression": expression, "contextId": world["executionContextId"], "returnByValue": True}
        reply = await tab.call("Runtime.evaluate", script, session=session)
    except CdpError:  # the frame has gone meanwhile, or another document came
        return None
    value: Found | None = reply["result"].get("value")
    return value
