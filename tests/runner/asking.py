"""`POST /pages` of a runner under test, and pages for it to load."""

from __future__ import annotations

import base64
import contextlib
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner.wire import PageFailure, PageResult, page_answer
from tests.fakes.site import Page, Site, html
from tests.patience import PATIENCE
from tests.runner.harness import RunnerProcess


async def ask(runner: RunnerProcess, url: str, **fields: Any) -> PageResult | PageFailure:
    patience = {"timeout_ms": int(1000 * PATIENCE)}
    wanted = {"url": url, "os_family": "macos", "country": "us", "formats": ["html"], **patience, **fields}
    answer = await runner.request("POST", "/pages", json=wanted)
    assert answer.status_code == 200, answer.text
    return page_answer(answer.content)


async def fetch(runner: RunnerProcess, url: str, **fields: Any) -> PageResult:
    answer = await ask(runner, url, **fields)
    assert isinstance(answer, PageResult), answer
    return answer


async def fail(runner: RunnerProcess, url: str, **fields: Any) -> PageFailure:
    answer = await ask(runner, url, **fields)
    assert isinstance(answer, PageFailure), answer
    return answer


async def run_out(runner: RunnerProcess, url: str, words: str, **fields: Any) -> None:
    """Its time is up when it does what `words` say. A machine that stands still needs more time to get as far."""
    for milliseconds in (800, 8000, 80_000):
        answer = await fail(runner, url, timeout_ms=milliseconds, **fields)
        assert answer.failure == "timeout"
        if words in answer.message:
            return
    raise AssertionError(f"{answer.message}, but not for {words}")


@contextlib.contextmanager
def page(site: Site, path: str, body: str, status: int = 200, headers: dict[str, str] | None = None) -> Iterator[str]:
    """A page for the length of the block; its URL."""
    fields = {"Content-Type": "text/html; charset=utf-8", **(headers or {})}
    site.pages[path] = lambda query: (status, fields, body.encode())
    try:
        yield site.url(path)
    finally:
        del site.pages[path]


@contextlib.contextmanager
def slow(site: Site, path: str) -> Iterator[threading.Semaphore]:
    """A page that answers as many requests as are let go, and at the end all of them."""
    gate = threading.Semaphore(0)

    def answer(query: dict[str, str]) -> Page:
        gate.acquire()
        return html("late")

    site.pages[path] = answer
    try:
        yield gate
    finally:
        gate.release(1000)
        del site.pages[path]


def png_size(encoded: str | None) -> tuple[int, int]:
    assert encoded is not None
    data = base64.b64decode(encoded)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert zlib.crc32(data[12:29]) == struct.unpack("!I", data[29:33])[0]
    width, height = struct.unpack("!II", data[16:24])
    return int(width), int(height)


CASES = Path(__file__).parent / "pages" / "data"


@contextlib.contextmanager
def case(site: Site, name: str, path: str = "") -> Iterator[str]:
    """The whole answer in `data/<name>.http`, for the length of the block; its URL."""
    path = path or f"/case/{name}"
    site.raw[path] = (CASES / f"{name}.http").read_bytes()
    try:
        yield site.url(path)
    finally:
        del site.raw[path]


@contextlib.contextmanager
def whole(site: Site, path: str, answer: str | bytes) -> Iterator[str]:
    """A whole answer that is sent unchanged, after which the connection is closed; its URL."""
    site.raw[path] = answer if isinstance(answer, bytes) else answer.encode()
    try:
        yield site.url(path)
    finally:
        del site.raw[path]
