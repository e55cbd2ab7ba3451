"""A web site on loopback: pages, redirects, header echo. It remembers every request that it got.

with Site() as site:
    await page.goto(site.url("/hello"))
    assert site.paths() == ["/hello"]
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

HELLO = "<!doctype html><title>Hello</title><h1>Hello, agent</h1>"

# What a page can know of its browser before anything else on it runs.
SELF_PORTRAIT = """
const portrait = () => ({
  userAgent: navigator.userAgent,
  platform: navigator.platform,
  language: navigator.language,
  languages: [...navigator.languages],
  timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
  locale: Intl.DateTimeFormat().resolvedOptions().locale,
  number: (1234.5).toLocaleString(),
  webdriver: navigator.webdriver,
  hints: navigator.userAgentData && navigator.userAgentData.toJSON(),
  cores: navigator.hardwareConcurrency,
  online: navigator.onLine,
  screen: typeof screen === "undefined" ? null : [screen.width, screen.height, devicePixelRatio],
});
"""
PORTRAIT = f"<!doctype html><title>Portrait</title><script>{SELF_PORTRAIT}; window.seen = portrait();</script>"
PORTRAIT_WORKER = f"{SELF_PORTRAIT}; const seen = portrait(); onmessage = e => (e.ports[0] || self).postMessage(seen);"

Page = tuple[int, dict[str, str], bytes]


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it arrived; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]


class Site:
    """Serves on 127.0.0.1 until the block ends. `pages` may be added to at any moment."""

    def __init__(self) -> None:
        self.requests: list[Seen] = []
        self.pages: dict[str, Callable[[dict[str, str]], Page]] = {
            "/": lambda query: html(HELLO),
            "/hello": lambda query: html(HELLO),
            "/portrait": lambda query: html(PORTRAIT),
            "/portrait.js": lambda query: (200, {"Content-Type": "text/javascript"}, PORTRAIT_WORKER.encode()),
            "/frame": lambda query: html(f'<!doctype html><iframe src="{query["src"]}"></iframe>'),
            "/redirect": lambda query: (302, {"Location": query["to"]}, b""),
            "/download": lambda query: (
                200,
                {"Content-Type": "application/octet-stream", "Content-Disposition": "attachment; filename=loot.bin"},
                b"loot" * 64,
            ),
        }
        self.raw: dict[str, bytes] = {}  # whole answers, sent as they are; the connection is closed after each
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.site = self
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> Site:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def url(self, path: str = "/", *, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    def last(self, path: str) -> Seen:
        """The latest request for `path`. Raises LookupError when there was none."""
        for request in reversed(self.requests):
            if request.path == path:
                return request
        raise LookupError(path)


def html(text: str) -> Page:
    return 200, {"Content-Type": "text/html; charset=utf-8"}, text.encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # with the default of 5, connections of browsers wait for seconds
    site: Site


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        site = self.server.site
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        site.requests.append(Seen(self.command, parts.path, headers))
        if (whole := site.raw.get(parts.path)) is not None:
            self.wfile.write(whole)
            self.close_connection = True
            return
        if parts.path == "/headers":
            answer: Page = (200, {"Content-Type": "application/json"}, json.dumps(headers).encode())
        elif page := site.pages.get(parts.path):
            answer = page({name: values[0] for name, values in parse_qs(parts.query).items()})
        else:
            answer = (404, {"Content-Type": "text/plain"}, b"not here")
        status, fields, body = answer
        self.send_response(status)
        for name, value in {"Cache-Control": "no-store", "Content-Length": str(len(body)), **fields}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET
