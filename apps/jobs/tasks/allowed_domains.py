"""The domains that a task may work in, and the guard that keeps the pages of a browser inside them.

`example.com` allows that host and www.example.com. `*.example.com` allows example.com and all its subdomains. Ports are
ignored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from apps.core.outgoing.urls import host_name

MAX_DOMAINS = 50


def check_pattern(pattern: str) -> str:
    """Returns the pattern in lower-case ASCII. Raises ValueError."""
    wild = "*." if pattern.startswith("*.") else ""
    try:
        return wild + host_name(pattern.removeprefix("*."))
    except ValueError as error:
        raise ValueError("must be a host such as example.com or *.example.com") from error


@dataclass(frozen=True, slots=True)
class AllowedDomains:
    """`patterns` come from `check_pattern`. Without patterns every page is permitted."""

    patterns: tuple[str, ...] = ()

    @classmethod
    def of(cls, patterns: Iterable[str]) -> AllowedDomains:
        return cls(tuple(patterns))

    def permits(self, url: str) -> bool:
        """Whether a task may be on the page. An empty page is always permitted."""
        if not self.patterns or not url or url.startswith("about:"):
            return True
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").rstrip(".")
        except ValueError:
            return False
        if parts.scheme not in ("http", "https") or not host:
            return False
        for pattern in self.patterns:
            if pattern.startswith("*."):
                if host == pattern[2:] or host.endswith(pattern[1:]):
                    return True
            elif host in (pattern, f"www.{pattern}"):
                return True
        return False


class NavigationGuard:
    """Blocks the request for each page outside of `allowed`: from a link, a redirect or a script."""

    def __init__(self, allowed: AllowedDomains) -> None:
        self._allowed = allowed
        self._client: Any = None
        self._decisions: set[asyncio.Task[None]] = set()

    async def watch(self, client: Any) -> None:
        """Starts to guard the pages of this connection (a cdp_use.CDPClient of browser-use)."""
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
        with suppress(Exception):  # the page or the connection has closed, and the request with it
            targets = await send.Target.getTargets()
            pages = {one["targetId"]: one["url"] for one in targets["targetInfos"] if one["type"] == "page"}
            # The id of a page's main frame equals its target id. Embedded frames may come from any host.
            if self._allowed.permits(event["request"]["url"]) or event["frameId"] not in pages:
                await send.Fetch.continueRequest(params=request, session_id=session_id)
                return
            refusal = {**request, "errorReason": "BlockedByClient"}
            await send.Fetch.failRequest(params=refusal, session_id=session_id)
            if len(pages) > 1 and pages[event["frameId"]] in ("", "about:blank"):
                # A new tab that has no page yet does not answer CDP commands, and the agent would wait for it.
                await send.Target.closeTarget(params={"targetId": event["frameId"]})
