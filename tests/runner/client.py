"""A raw CDP client that needs no library and no code of the product."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any, Self

import websockets
from websockets.asyncio.client import ClientConnection, connect

from tests.patience import PATIENCE

Message = dict[str, Any]


class CdpRefused(Exception):
    """Chromium answered a command with an error."""


class Cdp:
    """`async with Cdp(cdp_url) as cdp:` sends commands, with or without a session, and collects events."""

    def __init__(self, url: str, **options: Any) -> None:
        self.url = url
        self.events: list[Message] = []
        self._options = {"max_size": None, "compression": None, "ping_interval": None, "close_timeout": 2} | options
        self._ids = itertools.count(1)
        self._replies: dict[int, asyncio.Future[Message]] = {}
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        self.socket: ClientConnection = await connect(self.url, proxy=None, open_timeout=PATIENCE, **self._options)
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.socket.close()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def call(self, method: str, params: Message | None = None, *, session: str | None = None) -> Message:
        """A command's result, within our patience. Raises CdpRefused."""
        number = next(self._ids)
        message: Message = {"id": number, "method": method, "params": params or {}}
        if session is not None:
            message["sessionId"] = session
        reply = self._replies[number] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps(message))
        return await asyncio.wait_for(reply, PATIENCE)

    async def event(self, method: str, *, seconds: float = PATIENCE, **fields: Any) -> Message:
        """The parameters of the first event of that name, past or to come, that has these fields."""
        async with asyncio.timeout(seconds):
            while True:
                for event in self.events:
                    if event["method"] == method and fields.items() <= event["params"].items():
                        return event["params"]
                self._news.clear()
                await self._news.wait()

    async def attach(self, target_id: str) -> str:
        """A flat session with a target."""
        attached = await self.call("Target.attachToTarget", {"targetId": target_id, "flatten": True})
        return str(attached["sessionId"])

    async def new_page(self, url: str = "about:blank", **params: Any) -> str:
        """A session with a new tab."""
        made = await self.call("Target.createTarget", {"url": url, **params})
        return await self.attach(made["targetId"])

    async def open(self, url: str, *, session: str | None = None) -> Message:
        """Navigate and wait until the page has loaded or failed; the answer to `Page.navigate`."""
        await self.call("Page.enable", session=session)
        self.events = [event for event in self.events if event.get("sessionId") != session]
        answer = await self.call("Page.navigate", {"url": url}, session=session)
        if not answer.get("errorText") and not answer.get("isDownload") and "loaderId" in answer:
            async with asyncio.timeout(PATIENCE):
                while not any(
                    event["method"] == "Page.loadEventFired" and event.get("sessionId") == session
                    for event in self.events
                ):
                    self._news.clear()
                    await self._news.wait()
        return answer

    async def run(self, expression: str, *, session: str | None = None) -> Any:
        """The value of a JavaScript expression or promise. Raises CdpRefused when it throws."""
        answer = await self.call(
            "Runtime.evaluate",
            {"expression": expression, "awaitPromise": True, "returnByValue": True},
            session=session,
        )
        if "exceptionDetails" in answer:
            raise CdpRefused(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")

    async def holds(self, expression: str, *, session: str | None = None) -> bool:
        """Whether it is true of the page. Of one that is just being replaced nothing is."""
        try:
            return bool(await self.run(expression, session=session))
        except CdpRefused:
            return False

    async def text(self, *, session: str | None = None) -> str:
        return str(
            await self.run("document.documentElement ? document.documentElement.innerText : ''", session=session)
        )

    async def _read(self) -> None:
        try:
            async for raw in self.socket:
                self._take(json.loads(raw))
        except websockets.ConnectionClosed:
            pass
        finally:
            for reply in self._replies.values():
                if not reply.done():
                    reply.set_exception(CdpRefused("the connection is closed"))
                    reply.exception()

    def _take(self, message: Message) -> None:
        if "id" not in message:
            self.events.append(message)
            self._news.set()
            return
        reply = self._replies.pop(message["id"])
        if reply.done():
            return
        if "error" in message:
            reply.set_exception(CdpRefused(message["error"]["message"]))
        else:
            reply.set_result(message["result"])
