"""Two browsers for one idea: a leased one through the gateway, and the same Chromium as its client would start it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, Playwright

from fingerprints import draw
from runner.browsers import find_chromium
from runner.chromium_flags import full_flags
from runner.identity.launch import Launch, launch_of
from tests.fakes.site import Site, html
from tests.patience import PATIENCE
from tests.runner.harness import Lease

DEVTOOLS_LINE = re.compile(r"DevTools listening on (ws://\S+)")
NO_PROXY = "direct://"

# What the first script of a page sees of what its client has set up for it.
EARLY = """<!doctype html><title>Popup</title><script>
window.early = {
  injected: window.injected, bound: typeof window.add, size: [innerWidth, innerHeight], agent: navigator.userAgent,
  language: navigator.language, number: (1234.5).toLocaleString(),
  zone: Intl.DateTimeFormat().resolvedOptions().timeZone, touch: "ontouchstart" in window,
  dark: matchMedia("(prefers-color-scheme: dark)").matches,
};
</script>"""
FORM = "<!doctype html><title>Form</title><textarea></textarea><input><div style='height: 5000px'></div>"
WORKER = (
    "postMessage([navigator.language, Intl.DateTimeFormat().resolvedOptions().timeZone, (1234.5).toLocaleString()])"
)


@dataclass(frozen=True)
class Side:
    """One of the two browsers, with a site of its own. `address` serves further connections to the same browser."""

    playwright: Playwright
    browser: Browser
    address: str
    site: Site
    contexts: dict[str, BrowserContext] = field(default_factory=dict)  # those that ideas share, by their options

    @contextlib.asynccontextmanager
    async def context(self, **options: Any) -> AsyncIterator[BrowserContext]:
        context = await self.browser.new_context(**options)
        context.set_default_timeout(PATIENCE * 1000)
        try:
            yield context
        finally:
            await context.close()

    @contextlib.asynccontextmanager
    async def page(self, path: str = "/hello", *, own: bool = False, **options: Any) -> AsyncIterator[Page]:
        """A page at `path` in a context with these options.

        Ideas share it, because a new context and a new page take half a second of CPU time. An idea that changes more
        than the next navigation replaces has its `own` ones.
        """
        async with contextlib.AsyncExitStack() as stack:
            if own:
                context = await stack.enter_async_context(self.context(**options))
            else:
                context = await self._shared(options)
            page = context.pages[0] if context.pages else await context.new_page()
            try:
                await page.goto(self.site.url(path))
                yield page
            finally:
                for opened in [] if own else context.pages[1:]:
                    await opened.close()

    async def _shared(self, options: dict[str, Any]) -> BrowserContext:
        key = json.dumps(options, sort_keys=True)
        if key not in self.contexts:
            self.contexts[key] = await self.browser.new_context(**options)
            self.contexts[key].set_default_timeout(PATIENCE * 1000)
        return self.contexts[key]

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[Browser]:
        """Another client of the same browser."""
        browser = await self.playwright.chromium.connect_over_cdp(self.address, timeout=PATIENCE * 1000)
        browser.contexts[0].set_default_timeout(PATIENCE * 1000)
        try:
            yield browser
        finally:
            await browser.close()


@dataclass(frozen=True)
class Idea:
    """`act` tells what a browser did, as JSON; `right` is what Chromium itself does."""

    act: Callable[[Side], Awaitable[Any]]
    right: Any


IDEAS: dict[str, Idea] = {}


def idea(right: Any) -> Callable[[Callable[[Side], Awaitable[Any]]], Callable[[Side], Awaitable[Any]]]:
    """Register a function as an idea, by its name."""

    def register(act: Callable[[Side], Awaitable[Any]]) -> Callable[[Side], Awaitable[Any]]:
        IDEAS[act.__name__] = Idea(act, right)
        return act

    return register


def furnish(site: Site) -> None:
    """The pages that the ideas visit."""

    def secret(query: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        if site.last("/secret").headers.get("authorization") == "Basic dXNlcjpwYXNz":
            return html("<title>Let in</title>")
        return 401, {"WWW-Authenticate": 'Basic realm="x"'}, b"who is there"

    site.pages |= {
        "/early": lambda query: html(EARLY),
        "/form": lambda query: html(FORM),
        "/secret": secret,
        "/place.js": lambda query: (200, {"Content-Type": "text/javascript"}, WORKER.encode()),
        "/cookie": lambda query: (200, {"Set-Cookie": "a=1; Path=/", "Content-Type": "text/plain"}, b"set"),
        "/there": lambda query: (302, {"Location": "/hello"}, b""),
    }


@contextlib.asynccontextmanager
async def direct_chromium(settings: Launch) -> AsyncIterator[str]:
    """The CDP address of a Chromium with the flags of a leased one, but without a jail, an egress and a gateway."""
    binary = find_chromium(os.environ)
    assert binary is not None
    with tempfile.TemporaryDirectory(prefix="bwp", ignore_cleanup_errors=True) as folder:
        flags = [*full_flags(NO_PROXY, f"{folder}/profile"), *settings.flags]
        # Chromium's own sandbox does not run as root.
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        log = Path(folder) / "log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [binary, *sandbox, *flags],
                stderr=stderr,
                stdout=subprocess.DEVNULL,
                env={
                    "HOME": folder,
                    "TMPDIR": folder,
                    "PATH": os.defpath,
                    "LANG": "en_US.UTF-8",
                    **settings.environment,
                },
            )
        try:
            async with asyncio.timeout(PATIENCE):
                while (found := DEVTOOLS_LINE.search(log.read_text(errors="replace"))) is None:
                    assert process.poll() is None, log.read_text(errors="replace")[-2000:]
                    await asyncio.sleep(0.02)
            yield found[1]
        finally:
            process.kill()
            process.wait()


@contextlib.asynccontextmanager
async def pair(playwright: Playwright, lease: Lease, site: Site) -> AsyncIterator[tuple[Side, Side]]:
    """The leased side and the direct one."""
    leased = await playwright.chromium.connect_over_cdp(lease.cdp_url, timeout=PATIENCE * 1000)
    drawn = draw(seed=lease.granted.seed, os_family="linux", country="us", chromium_version=leased.version)
    with Site() as other:
        furnish(site)
        furnish(other)
        async with direct_chromium(launch_of(drawn)) as address:
            direct = await playwright.chromium.connect_over_cdp(address, timeout=PATIENCE * 1000)
            for browser in (leased, direct):
                browser.contexts[0].set_default_timeout(PATIENCE * 1000)
            try:
                yield Side(playwright, leased, lease.cdp_url, site), Side(playwright, direct, address, other)
            finally:
                await direct.close()
                await leased.close()
