"""The gateway's routes, and the URLs in the DevTools JSON that it returns. No I/O."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

PREFIX = "/api/v1/cdp/"
_LIVE = re.compile(r"/api/v1/live/(?P<capability>[A-Za-z0-9]+-[0-9a-f]{32,})")
_SOCKET = re.compile(
    r"(?P<profile>[A-Za-z0-9]+-[0-9a-f]{32,})/ws/(?P<kind>page|browser)/(?P<target>[A-Za-z0-9-]{1,64})"
)
_JSON = re.compile(
    r"(?P<profile>[A-Za-z0-9]+-[0-9a-f]{32,})/json(?P<rest>|/version|/list|/protocol|/new|/(?:activate|close)/[A-Za-z0-9-]{1,64})/?"
)
_DEVTOOLS = re.compile(r"wss?://[^/]+/devtools/(page|browser)/([A-Za-z0-9-]+)")


@dataclass(frozen=True, slots=True)
class SocketRoute:
    """A CDP WebSocket URL. `page` accepts both kinds of clients; `browser` always connects to the browser."""

    profile: str
    kind: Literal["page", "browser"]
    target: str


@dataclass(frozen=True, slots=True)
class JsonRoute:
    """A DevTools HTTP endpoint; `path` is the path in Chromium, which takes the first of `methods`."""

    profile: str
    path: str
    methods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LiveRoute:
    """The WebSocket URL of a live view."""

    capability: str


def match(path: str) -> SocketRoute | JsonRoute | LiveRoute | None:
    """The route of `path`; its capability may be unknown or expired. None when no route matches."""
    if found := _LIVE.fullmatch(path):
        return LiveRoute(found["capability"])
    if not path.startswith(PREFIX):
        return None
    rest = path[len(PREFIX) :]
    if found := _SOCKET.fullmatch(rest):
        kind: Literal["page", "browser"] = "page" if found["kind"] == "page" else "browser"
        return SocketRoute(found["profile"], kind, found["target"])
    if found := _JSON.fullmatch(rest):
        # Chromium requires PUT for these three; older clients still send GET.
        methods = ("PUT", "GET") if found["rest"].startswith(("/new", "/activate", "/close")) else ("GET", "HEAD")
        return JsonRoute(found["profile"], f"/json{found['rest']}", methods)
    return None


def rewrite(body: bytes, *, profile: str, public_url: str) -> bytes:
    """Chromium's JSON with every DevTools URL replaced by the gateway's. Raises ValueError if it is not JSON."""
    return json.dumps(_rewritten(json.loads(body), f"{public_url}{PREFIX}{profile}/ws")).encode()


def _rewritten(value: Any, base: str) -> Any:
    if isinstance(value, list):
        return [_rewritten(item, base) for item in value]
    if not isinstance(value, dict):
        return value
    # Leave out the URLs of the DevTools front end: its host cannot reach the browser at this address.
    return {
        key: _DEVTOOLS.sub(lambda m: f"{base}/{m[1]}/{m[2]}", item) if key == "webSocketDebuggerUrl" else item
        for key, item in value.items()
        if not key.startswith("devtoolsFrontend")
    }
