"""The reference pages of the detection harness. Only a browser of a harness lease is served.

Each page reads one group of values, and what this server saw of the browser (`/seen`). The API judges them.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from runner.egress.own_hosts import FRAME_HOST
from runner.identity.measuring_site import FOLDER, REALM_SCRIPT, SCRIPT, MeasuringSite, page_of

PAGES = ("automation", "coherence", "place", "drawing", "network")
PAGE = page_of(SCRIPT + (FOLDER / "harness.js").read_text())
# In a frame of another site, and in a popup.
REALM_PAGE = page_of(f"{REALM_SCRIPT} realm().then(realm => (opener ?? parent).postMessage({{ realm }}, '*'));")
SHARED_WORKER = f"{REALM_SCRIPT} onconnect = event => realm().then(found => event.ports[0].postMessage(found));"
SERVICE_WORKER = f"{REALM_SCRIPT} onmessage = event => realm().then(found => event.ports[0].postMessage(found));"


class HarnessSite(MeasuringSite):
    """Remembers the header fields of the last request for each path."""

    def __init__(self) -> None:
        super().__init__()
        self._requests: dict[str, list[tuple[str, str]]] = {}

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        fields = [(name.decode(), value.decode("latin-1")) for name, value in request.raw_headers]
        host = f"{FRAME_HOST}:" if request.headers.get("Host") == FRAME_HOST else ""
        if path == "/seen":
            return web.json_response(self._seen())
        self._requests[f"{host}{path}"] = fields
        if path.removeprefix("/") in PAGES:
            return _text(PAGE, "text/html")
        if path == "/realm":
            return _text(REALM_PAGE, "text/html")
        if path in ("/shared.js", "/service.js"):
            return _text(SHARED_WORKER if path == "/shared.js" else SERVICE_WORKER, "text/javascript")
        return web.Response(status=404)

    def _seen(self) -> dict[str, Any]:
        return {"requests": self._requests, "tls": self.hello.as_document() if self.hello is not None else None}


def _text(text: str, kind: str) -> web.Response:
    return web.Response(text=text, content_type=kind, headers={"Cache-Control": "no-store"})
