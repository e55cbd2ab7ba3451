"""The fake runner's pages: a scripted web, without browsers.

Every URL answers with a small page of its own, unless it was scripted:

    pages.site("http://a.test/", links=["/b", "/c"], text="Hello")
    pages.script("http://a.test/b", PageFailure("unreachable", "net::ERR_CONNECTION_REFUSED", "http://a.test/b"))
    pages.script("http://a.test/c", "hang_up", "hang_up", "hang_up")     the next three times; then as before
    gate = pages.hold("http://a.test/")                                  it loads until gate.set()
"""

from __future__ import annotations

import dataclasses
import select
import socket
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal
from urllib.parse import urljoin

from runner.wire import PageFailure, PageRequest, PageResult
from tests.patience import PATIENCE

Trouble = Literal["hang_up", "draining", "no_place", "no_egress", "garbage", "error"]
Script = PageResult | PageFailure | Trouble


class Freed(Exception):
    """The client hung up before the page was loaded."""


class FakePages:
    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._under_way: list[str] = []
        self._gates: dict[str, threading.Event] = {}
        self.reset()

    def reset(self) -> None:
        """What an earlier test began ends first: it must not be counted in the next one."""
        for gate in self._gates.values():
            gate.set()
        with self._lock:
            assert self._lock.wait_for(lambda: not self._under_way, PATIENCE), f"{self._under_way} still load"
            self.requests: list[PageRequest] = []
            self.freed: list[str] = []
            self.most_at_once = 0
            self.before: Callable[[PageRequest], object] = lambda request: None
            self._pages: dict[str, PageResult] = {}
            self._scripts: defaultdict[str, deque[Script]] = defaultdict(deque)
            self._gates = {}

    @property
    def loading(self) -> int:
        return len(self._under_way)

    def urls(self) -> list[str]:
        """Everything that was asked for, robots.txt aside, in order."""
        return [request.url for request in self.requests if not request.url.endswith("/robots.txt")]

    def site(
        self,
        url: str,
        *,
        links: list[str] | None = None,
        landed: str = "",
        status: int = 200,
        title: str = "",
        html: str = "",
        text: str = "",
    ) -> None:
        """What there is at `url`; `links` may be relative to where it lands."""
        found = [urljoin(landed or url, link) for link in links or []]
        page = PageResult(
            landed or url,
            status,
            title or f"Title of {url}",
            7,
            html,
            text,
            found,
            "iVBORw0KGgo=",
            content_type="text/html",
        )
        self._pages[url] = dataclasses.replace(page, html=html or f"<h1>{url}</h1>", text=text or f"Text of {url}")

    def script(self, url: str, *answers: Script) -> None:
        self._scripts[url].extend(answers)

    def hold(self, url: str) -> threading.Event:
        gate = self._gates[url] = threading.Event()
        return gate

    def await_loading(self, count: int, *, seconds: float = PATIENCE) -> None:
        """Until just so many pages load at once."""
        with self._lock:
            assert self._lock.wait_for(lambda: self.loading == count, seconds), f"{self.loading} pages are loading"

    def await_held(self, *, seconds: float = PATIENCE) -> None:
        """Until every page that is held loads, and no other."""
        with self._lock:
            held = sorted(self._gates)
            assert self._lock.wait_for(lambda: sorted(self._under_way) == held, seconds), f"{self._under_way} load"

    def await_most(self, count: int, *, seconds: float = PATIENCE) -> None:
        """Until so many pages load at once, or once did."""
        with self._lock:
            assert self._lock.wait_for(lambda: self.most_at_once >= count, seconds), f"never {count} at once"

    def await_freed(self, url: str, *, seconds: float = PATIENCE) -> None:
        with self._lock:
            assert self._lock.wait_for(lambda: url in self.freed, seconds), f"{url} was not let go"

    def load(self, request: PageRequest, client: socket.socket) -> Script:
        """Raises Freed."""
        with self._place(request):
            self.before(request)
            gate = self._gates.get(request.url)
            while gate is not None and not gate.wait(0.005):
                if _hung_up(client):
                    with self._lock:
                        self.freed.append(request.url)
                    raise Freed
            scripted = self._scripts[request.url]
            if scripted:
                return scripted.popleft()
            return _trimmed(self._found(request.url), request)

    @contextmanager
    def _place(self, request: PageRequest) -> Iterator[None]:
        with self._lock:
            self.requests.append(request)
            self._under_way.append(request.url)
            self.most_at_once = max(self.most_at_once, self.loading)
            self._lock.notify_all()
        try:
            yield
        finally:
            with self._lock:
                self._under_way.remove(request.url)
                self._lock.notify_all()

    def _found(self, url: str) -> PageResult:
        if url not in self._pages and url.endswith("/robots.txt"):
            return PageResult(url, 404, "", 1, text="not here")
        if url not in self._pages:
            self.site(url)
        return self._pages[url]


def _trimmed(page: PageResult, request: PageRequest) -> PageResult:
    """Only what was asked for, as the real one does."""
    wanted = request.formats
    return dataclasses.replace(
        page,
        html=page.html if "html" in wanted else None,
        text=(page.text or "")[: request.max_chars] if "text" in wanted else None,
        links=page.links if "links" in wanted else None,
        screenshot_png_b64=page.screenshot_png_b64 if "screenshot" in wanted else None,
        flat=page.html if "flat" in wanted else None,
        body=(page.text or "")[: request.max_chars] if "body" in wanted else None,
    )


def _hung_up(client: socket.socket) -> bool:
    readable, _, _ = select.select([client], [], [], 0)
    return bool(readable) and client.recv(1, socket.MSG_PEEK) == b""


def slow(seconds: float) -> Callable[[PageRequest], None]:
    """For `before`, where a test is about time itself."""
    return lambda request: time.sleep(seconds)
