"""Pages for the quick calls: a headless shell that no client touches, a context a page, recycled before it grows old.

Two tabs are made ahead of time, which brings a small page from some 70 ms to some 25; when many pages wait, making
them on the spot costs the same, so nothing more is kept.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

import psutil

from fingerprints.families import DEFAULT_FAMILY
from runner.cdp import CdpError
from runner.chromium import ChromiumError
from runner.egress.connect import Refusal
from runner.egress.socks import Refused
from runner.identity.emulation import Identity
from runner.pages.load import load
from runner.pages.shell import Shell
from runner.pages.slots import Turns
from runner.pages.tab import Tab, TabGone
from runner.wire import PageFailure, PageRequest, PageResult

log = logging.getLogger("browsa.runner.pages")

T = TypeVar("T")

SPARE_TABS = 2
# A tab that is thrown away, or made, takes a core for a while, which the answer has a better use for. With more pages
# under way it is thrown away at once: until then it would go on painting itself.
TIDY_AFTER_SECONDS = 0.04
RECYCLE_PAGES = 1000
RECYCLE_BYTES = 1200 * 2**20
LOOK_AT_MEMORY_EVERY = 50
MAX_BACKOFF_SECONDS = 10.0
REFUSALS_KEPT = 64

# What the egress knows and a SOCKS reply cannot say, in Chromium's own words (net/base/net_error_list.h).
NET_ERRORS = {
    Refusal.NAME: "net::ERR_NAME_NOT_RESOLVED",
    Refusal.REFUSED: "net::ERR_CONNECTION_REFUSED",
    Refusal.UNREACHABLE: "net::ERR_ADDRESS_UNREACHABLE",
    Refusal.TIMEOUT: "net::ERR_CONNECTION_TIMED_OUT",
    Refusal.UPSTREAM: "net::ERR_PROXY_CONNECTION_FAILED",
    Refusal.TUNNEL: "net::ERR_TUNNEL_CONNECTION_FAILED",
}

StartShell = Callable[[Refused], Awaitable[Shell]]
"""Given what to call with every refused connection (host, port, why), a running shell. Raises ChromiumError."""


class PageService:
    """Loads pages, `places` at once. Start it with `open`; `close` ends its shells."""

    def __init__(self, start: StartShell, *, places: int, country: str) -> None:
        self._start = start
        self._turns = Turns(places)
        self._country = country
        self._shell: Shell | None = None
        self._starting: asyncio.Task[Shell] | None = None
        self._spares: deque[Tab] = deque()
        self._shells: set[Shell] = set()
        self._refusals: deque[tuple[float, str, Refusal]] = deque(maxlen=REFUSALS_KEPT)
        self._failures = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._refilling = False
        self._closed = False

    @property
    def ready(self) -> bool:
        return self._shell is not None and self._shell.alive

    @property
    def busy(self) -> int:
        """Pages being loaded now."""
        return sum(shell.busy for shell in self._shells)

    def open(self) -> None:
        self._spawn(self._current())

    def close(self) -> None:
        self._closed = True
        for shell in list(self._shells):
            shell.kill()

    async def emptied(self) -> None:
        """Wait until every shell is gone."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def fetch(self, request: PageRequest, *, wait: float) -> PageResult | PageFailure:
        """Load a page; one that only died with its shell is loaded once more. Raises turns.NoPlace, ChromiumError."""
        async with self._turns.place(request.queue, wait=wait):
            started = time.monotonic()
            for last in (False, True):
                left = request.timeout_ms - round((time.monotonic() - started) * 1000)
                attempt = replace(request, timeout_ms=max(1, left))
                try:
                    async with self._tab(attempt) as tab:
                        return self._explained(await load(tab, attempt), country=request.country, since=started)
                except (TabGone, CdpError) as error:
                    if last:
                        return PageFailure("crashed", "the page's renderer died", request.url)
                    log.warning("a page is loaded again, because its renderer died: %s", error)
            raise AssertionError("unreachable")

    def _explained(self, answer: PageResult | PageFailure, *, country: str, since: float) -> PageResult | PageFailure:
        """Put the egress' reason in place of a SOCKS error's."""
        if not isinstance(answer, PageFailure) or "ERR_SOCKS" not in answer.message:
            return answer
        host = _host(answer.url)
        recent = [(name, why) for at, name, why in self._refusals if at >= since]
        # Where a redirect leads we are not told; then the newest refusal is the likeliest.
        why = next((why for name, why in reversed(recent) if name == host), recent[-1][1] if recent else None)
        if why is Refusal.POLICY:
            return replace(answer, failure="not_allowed", message="the address is not globally routable")
        if why is None:
            return answer
        proxied = why in (Refusal.UPSTREAM, Refusal.TUNNEL)
        return replace(answer, message=NET_ERRORS[why] + (f", country {country}: {why.value}" if proxied else ""))

    @asynccontextmanager
    async def _tab(self, request: PageRequest) -> Any:
        shell = await self._current()
        shell.busy += 1
        tab: Tab | None = None
        try:
            identity = Identity.of(request.os_family, request.country, shell.chromium.version)
            tab = self._spare(request.country) or await shell.open(identity, request.country)
            await tab.become(identity)
            yield tab
        finally:
            if tab is not None:
                self._spawn(self._tidy(shell, tab))
            shell.busy -= 1
            self._after_page(shell)

    async def _tidy(self, shell: Shell, tab: Tab) -> None:
        if not self.busy:
            await asyncio.sleep(TIDY_AFTER_SECONDS)
        await shell.dispose(tab)

    def _spare(self, country: str) -> Tab | None:
        if self._spares and self._spares[0].country == country:
            return self._spares.popleft()
        return None

    def _after_page(self, shell: Shell) -> None:
        if shell is not self._shell:
            if not shell.busy:
                shell.kill()
            return
        if shell.pages % LOOK_AT_MEMORY_EVERY == 0:
            self._spawn(self._look_at_memory(shell))
        if shell.pages >= RECYCLE_PAGES:
            self._replace()
        elif not self._refilling:
            self._refilling = True
            self._spawn(self._refill(shell))

    def _replace(self) -> None:
        """Start the next shell; this one serves until that is there."""
        if self._starting is None and not self._closed:
            self._starting = self._spawn(self._start_one())

    async def _look_at_memory(self, shell: Shell) -> None:
        if await asyncio.to_thread(_memory, shell.chromium.process.pid) > RECYCLE_BYTES and shell is self._shell:
            log.info("the headless shell has grown after %d pages and is replaced", shell.pages)
            self._replace()

    async def _refill(self, shell: Shell) -> None:
        try:
            await asyncio.sleep(TIDY_AFTER_SECONDS)
            while shell is self._shell and len(self._spares) < SPARE_TABS and not self._turns.waiting:
                identity = Identity.of(DEFAULT_FAMILY, self._country, shell.chromium.version)
                tab = await shell.open(identity, self._country)
                if shell is self._shell:
                    self._spares.append(tab)
        except CdpError as error:
            log.debug("no tab ahead of time: %s", error)
        finally:
            self._refilling = False

    async def _current(self) -> Shell:
        """The shell that new pages go to, started when there is none. Raises ChromiumError."""
        if self._shell is not None and self._shell.alive:
            return self._shell
        starting = self._starting or self._spawn(self._start_one())
        self._starting = starting
        return await asyncio.shield(starting)

    async def _start_one(self) -> Shell:
        try:
            if self._failures:
                await asyncio.sleep(min(MAX_BACKOFF_SECONDS, 0.25 * 2.0**self._failures))
            shell = await self._start(self._note_refusal)
        except ChromiumError:
            self._failures += 1
            raise
        finally:
            self._starting = None
        self._failures = 0
        self._shells.add(shell)
        previous, self._shell = self._shell, shell
        self._spares.clear()
        if previous is not None and not previous.busy:
            previous.kill()
        self._spawn(self._bury(shell))
        if self._closed:
            shell.kill()
        else:
            self._refilling = True
            self._spawn(self._refill(shell))
        return shell

    async def _bury(self, shell: Shell) -> None:
        await shell.closed()
        self._shells.discard(shell)
        if shell is self._shell and not self._closed:
            log.warning("the headless shell died: %s", " | ".join(shell.chromium.stderr_tail)[-300:])
            self._shell = None
            self._spares.clear()
            await self._current()

    def _note_refusal(self, host: str, port: int, why: Refusal) -> None:
        self._refusals.append((time.monotonic(), host, why))

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("no headless shell: %s", error)


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _memory(pid: int) -> int:
    """Bytes that a shell and its children have for themselves. The kernel counts those by itself; what is exact (USS)
    means a walk through every page of every process."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        return sum(used.rss - used.shared for used in (member.memory_info() for member in family))
    except psutil.Error:
        return 0
