"""The leases of a runner: browser, deadline, capabilities, and the reason of the end.

The process that owns the browsers also keeps the deadlines, so they hold when the API is down.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from runner.browser import Browser
from runner.cdp import CdpError
from runner.egress.upstreams import Upstreams
from runner.pool import NoBrowser, Pool
from runner.pool_decisions import Shape, Wanted
from runner.wire import EndReason, LeaseEnded, LeaseGranted, LeaseRequest

log = logging.getLogger("browsa.runner.leases")

CAPABILITY_BYTES = 24  # 192 random bits


@dataclass(eq=False, slots=True)
class Lease:
    """A leased browser."""

    granted: LeaseGranted
    browser: Browser
    deadline: asyncio.TimerHandle
    ended: asyncio.Future[str]  # done with the reason of the end: an EndReason, or "deleted"
    end_reason: EndReason | None = None  # why the runner ended it; None when it runs or ended by itself
    ended_by_api: bool = False  # then there is no report


@dataclass(frozen=True, slots=True)
class LiveAccess:
    """What a live view's capability permits. `ended` is done, with the reason, when the lease ends."""

    browser: Browser
    mode: Literal["view", "control"]
    ended: asyncio.Future[str]


class Leases:
    """All leases of a runner. `on_end` is called for each end that the API did not request."""

    def __init__(
        self,
        pool: Pool,
        *,
        runner_id: str,
        boot_id: str,
        upstreams: Upstreams,
        on_end: Callable[[LeaseEnded], None],
    ) -> None:
        self._pool = pool
        self._runner_id = runner_id
        self._boot_id = boot_id
        self._upstreams = upstreams
        self._on_end = on_end
        self._by_id: dict[str, Lease] = {}
        self._by_profile: dict[str, Lease] = {}
        self._by_live: dict[str, LiveAccess] = {}
        self._pending: dict[str, asyncio.Future[LeaseGranted]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._by_id)

    def ids(self) -> list[str]:
        return list(self._by_id)

    def find(self, profile: str) -> Browser | None:
        """The browser of a CDP capability; None when it is unknown or its lease has ended."""
        lease = self._by_profile.get(profile)
        return lease.browser if lease is not None else None

    def find_live(self, capability: str) -> LiveAccess | None:
        """The same for a capability of a live view."""
        return self._by_live.get(capability)

    def browser_of(self, lease_id: str) -> Browser | None:
        """The browser of a lease; None when there is no such lease."""
        lease = self._by_id.get(lease_id)
        return lease.browser if lease is not None else None

    async def grant(self, request: LeaseRequest) -> LeaseGranted:
        """Lease a browser, or return the lease of `request.lease_id`.

        Raises NoBrowser, pool.PoolClosed, and NoUpstream when no upstream proxy of the country works.
        """
        if (lease := self._by_id.get(request.lease_id)) is not None:
            return lease.granted
        if (pending := self._pending.get(request.lease_id)) is not None:
            return await asyncio.shield(pending)
        self._pending[request.lease_id] = done = asyncio.get_running_loop().create_future()
        try:
            granted = await self._grant(request)
            done.set_result(granted)
            return granted
        except BaseException as error:
            done.set_exception(error if isinstance(error, Exception) else NoBrowser("the request was cancelled"))
            done.exception()  # mark as retrieved: there may be no repeated request that awaits it
            raise
        finally:
            del self._pending[request.lease_id]

    async def _grant(self, request: LeaseRequest) -> LeaseGranted:
        loop = asyncio.get_running_loop()
        until = loop.time() + request.wait_seconds
        shape = Shape(request.os_family, request.country)
        order = Wanted(shape, request.seed, tuple(sorted(request.overrides.items())))
        self._upstreams.require(request.country)
        route = self._upstreams.route(request.country, token=request.lease_id)
        while True:
            browser = await self._pool.take(order, wait=max(0.0, until - loop.time()))
            try:
                await browser.lease(route=route)
            except (CdpError, TimeoutError) as error:
                log.warning("a warm browser did not answer and is replaced: %s", error)
                browser.kill()
                continue
            except BaseException:
                browser.kill()
                raise
            if request.harness:
                browser.serve_harness()
            granted = self._add_lease(request, browser)
            if request.initial_url:
                task = loop.create_task(self._open(browser, request.initial_url), name="lease-open")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            return granted

    def _add_lease(self, request: LeaseRequest, browser: Browser) -> LeaseGranted:
        now = time.time()
        granted = LeaseGranted(
            lease_id=request.lease_id,
            runner_id=self._runner_id,
            boot_id=self._boot_id,
            profile=self._capability(),
            page_id=browser.page_id,
            live_view=self._capability(),
            live_control=self._capability(),
            leased_at=now,
            expires_at=now + request.ttl_seconds,
            fingerprint=browser.measured,
            seed=browser.fingerprint.seed,
        )
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        lease = Lease(granted, browser, self._deadline(request.lease_id, request.ttl_seconds), ended)
        self._by_id[request.lease_id] = self._by_profile[granted.profile] = lease
        self._by_live[granted.live_view] = LiveAccess(browser, "view", ended)
        self._by_live[granted.live_control] = LiveAccess(browser, "control", ended)
        browser.gone.add_done_callback(lambda gone: self._on_exit(lease, gone.result()))
        return granted

    def extend(self, lease_id: str, *, seconds: float) -> LeaseGranted | None:
        """Set the deadline to `seconds` from now if that is later. None when there is no such lease."""
        lease = self._by_id.get(lease_id)
        if lease is None:
            return None
        until = time.time() + seconds
        if until > lease.granted.expires_at:
            lease.deadline.cancel()
            lease.deadline = self._deadline(lease_id, seconds)
            lease.granted = dataclasses.replace(lease.granted, expires_at=until)
        return lease.granted

    def _deadline(self, lease_id: str, seconds: float) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, self.end, lease_id, "expired")

    def _capability(self) -> str:
        return f"{self._runner_id}-{secrets.token_hex(CAPABILITY_BYTES)}"

    async def _open(self, browser: Browser, url: str) -> None:
        try:
            await browser.navigate(url)
        except CdpError as error:
            log.info("a leased browser exited before it opened its first page: %s", error)

    def end(self, lease_id: str, reason: EndReason) -> None:
        """End a lease for a reason of the runner. The end is reported."""
        if (lease := self._by_id.get(lease_id)) is not None and lease.end_reason is None:
            lease.end_reason = reason
            self._forget(lease, reason)
            lease.browser.kill()

    def release(self, lease_id: str) -> None:
        """End a lease because the API requests it. The end is not reported. An unknown lease is no error."""
        if (lease := self._by_id.get(lease_id)) is not None:
            lease.ended_by_api = True
            self._forget(lease, "deleted")
            lease.browser.kill()

    def _forget(self, lease: Lease, why: str) -> None:
        lease.deadline.cancel()
        self._by_profile.pop(lease.granted.profile, None)
        for capability in (lease.granted.live_view, lease.granted.live_control):
            self._by_live.pop(capability, None)
        if not lease.ended.done():
            lease.ended.set_result(why)
        if self._by_id.get(lease.granted.lease_id) is lease:  # the id may have a new lease already
            del self._by_id[lease.granted.lease_id]

    def _on_exit(self, lease: Lease, status: int) -> None:
        # Chromium exits with 0 only after Browser.close; a client or a page cannot cause it in another way.
        reason: EndReason = lease.end_reason or ("closed" if status == 0 else "crashed")
        self._forget(lease, reason)
        if lease.ended_by_api:
            return
        if reason == "crashed":
            words = " | ".join(lease.browser.chromium.stderr_tail)[-300:]
            log.warning("browser of %s crashed (status %d): %s", lease.granted.lease_id, status, words)
        self._on_end(LeaseEnded(lease.granted.lease_id, reason, time.time()))
