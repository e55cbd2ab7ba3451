"""Keeps the pages of a browser inside the domains that a task may work in."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from apps.jobs.tasks.domains import AllowedDomains


class NavigationGuard:
    """No page outside of `allowed` is even asked for, whoever wants it: a link, a redirect, a script."""

    def __init__(self, allowed: AllowedDomains) -> None:
        self._allowed = allowed
        self._client: Any = None
        self._decisions: set[asyncio.Task[None]] = set()

    async def watch(self, client: Any) -> None:
        """From now on, on this connection of browser-use's (a cdp_use.CDPClient)."""
        if client is self._client or not self._allowed.patterns:
            return
        self._client = client
        client.register.Fetch.requestPaused(self._on_request_paused)
        documents = {"patterns": [{"urlPattern": "*", "resourceType": "Document", "requestStage": "Request"}]}
        await client.send.Fetch.enable(params=documents)

    def _on_request_paused(self, event: Any, session_id: str | None = None) -> None:
        task = asyncio.get_running_loop().create_task(self._decide(event, session_id))
        self._decisions.add(task)
        task.add_done_callback(self._decisions.discard)

    async def _decide(self, event: Any, session_id: str | None) -> None:
        send = self._client.send
        request = {"requestId": event["requestId"]}
        with suppress(Exception):  # the page or the connection is gone, and the request with it
            pages = await self._pages()
            # A page's main frame has its target's id. What a page embeds may come from anywhere.
            if self._allowed.permits(event["request"]["url"]) or event["frameId"] not in pages:
                await send.Fetch.continueRequest(params=request, session_id=session_id)
                return
            refusal = {**request, "errorReason": "BlockedByClient"}
            await send.Fetch.failRequest(params=refusal, session_id=session_id)
            if len(pages) > 1 and pages[event["frameId"]] in ("", "about:blank"):
                # A tab that never was anywhere: it answers nothing, and the agent would wait for it.
                await send.Target.closeTarget(params={"targetId": event["frameId"]})

    async def _pages(self) -> dict[str, str]:
        """The addresses of all tabs, by target."""
        told = await self._client.send.Target.getTargets()
        return {one["targetId"]: one["url"] for one in told["targetInfos"] if one["type"] == "page"}
