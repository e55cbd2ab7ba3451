"""The runner's control API: the endpoints in `runner.wire`, on a Unix socket that only the API's user can open."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import get_args

from aiohttp import web

from fingerprints import overrides
from runner.chromium import ChromiumError
from runner.downloads import CHUNK, NoDownload
from runner.egress.upstreams import NoUpstream, Upstreams
from runner.leases import Leases
from runner.pages.service import PageService
from runner.pages.slots import NoPlace
from runner.pool import NoBrowser, Pool, PoolClosed
from runner.wire import (
    OS_FAMILIES,
    Blockable,
    DownloadList,
    EgressReport,
    JailStatus,
    LeaseExtension,
    LeaseRequest,
    PageRequest,
    RefusalCode,
    RunnerState,
    RunnerStatus,
    WaitUntil,
)

MAX_WAIT_SECONDS = 120.0
MAX_PAGE_MS = 120_000
MAX_TTL_SECONDS = 24 * 3600


class Control:
    """The HTTP server of one runner. The runner sets `state` and `jail`."""

    def __init__(
        self,
        leases: Leases,
        pool: Pool,
        pages: PageService,
        *,
        runner_id: str,
        boot_id: str,
        chromium: str,
        upstreams: Upstreams,
        check_egress: Callable[[], Awaitable[EgressReport]],
    ) -> None:
        self.state: RunnerState = "starting"
        self.jail = JailStatus()
        self._leases = leases
        self._pool = pool
        self._pages = pages
        self._runner_id = runner_id
        self._boot_id = boot_id
        self._chromium = chromium
        self._upstreams = upstreams
        self._check_egress = check_egress
        self._runner: web.AppRunner | None = None

    async def start(self, path: Path) -> None:
        """Listen on the Unix socket `path`, and replace the file of a previous runner. Raises OSError."""
        app = web.Application(client_max_size=64 * 1024)
        app.add_routes(
            [
                web.get("/status", self._status),
                web.get("/leases", self._list),
                web.post("/leases", self._grant),
                web.patch("/leases/{lease_id}", self._extend),
                web.delete("/leases/{lease_id}", self._release),
                web.get("/leases/{lease_id}/downloads", self._downloads),
                web.get("/leases/{lease_id}/downloads/{download_id}", self._download),
                web.post("/pages", self._page),
                web.post("/egress/check", self._egress),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await self._runner.setup()
        path.unlink(missing_ok=True)
        umask = os.umask(0o177)
        try:
            await web.UnixSite(self._runner, str(path)).start()
        finally:
            os.umask(umask)
        self.state = "ready"

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _status(self, request: web.Request) -> web.Response:
        pool = self._pool.state()
        status = RunnerStatus(
            runner_id=self._runner_id,
            boot_id=self._boot_id,
            state=self.state,
            chromium=self._chromium,
            warm=len(pool.warm),
            starting=len(pool.starting),
            leased=pool.leased,
            waiting=len(pool.waiting),
            limit=pool.limit,
            jail=self.jail,
            egress=self._upstreams.states(),
        )
        return web.Response(body=status.to_json(), content_type="application/json")

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response({"leases": self._leases.ids()})

    async def _grant(self, request: web.Request) -> web.Response:
        try:
            wanted = LeaseRequest.from_json(await request.read())
            self._check(wanted)
        except (ValueError, TypeError) as error:
            return _refuse(400, "bad_request", str(error))
        if self.state == "draining":
            return _refuse(503, "draining", "this runner takes no new leases")
        try:
            granted = await self._leases.grant(wanted)
        except NoUpstream as error:
            return _refuse(502, "no_egress", str(error))
        except NoBrowser as error:
            return _refuse(504, "no_browser", str(error))
        except PoolClosed:
            return _refuse(503, "draining", "this runner takes no new leases")
        return web.Response(body=granted.to_json(), content_type="application/json")

    async def _extend(self, request: web.Request) -> web.Response:
        try:
            wanted = LeaseExtension.from_json(await request.read())
            if not 0 < wanted.ttl_seconds <= MAX_TTL_SECONDS:
                raise ValueError("ttl_seconds is out of range")
        except (ValueError, TypeError) as error:
            return _refuse(400, "bad_request", str(error))
        granted = self._leases.extend(request.match_info["lease_id"], seconds=wanted.ttl_seconds)
        if granted is None:
            return _refuse(404, "no_lease", "there is no such lease")
        return web.Response(body=granted.to_json(), content_type="application/json")

    def _check(self, wanted: LeaseRequest) -> None:
        if not isinstance(wanted.lease_id, str) or not wanted.lease_id:
            raise ValueError("lease_id must be a string")
        if wanted.os_family not in OS_FAMILIES:
            raise ValueError(f"os_family must be one of {', '.join(OS_FAMILIES)}")
        if wanted.country not in self._upstreams.countries:
            raise ValueError(f"no egress in country {wanted.country!r}")
        if not 0 < wanted.ttl_seconds <= MAX_TTL_SECONDS or not 0 <= wanted.wait_seconds <= MAX_WAIT_SECONDS:
            raise ValueError("ttl_seconds or wait_seconds is out of range")
        if wanted.initial_url is not None and not isinstance(wanted.initial_url, str):
            raise ValueError("initial_url must be a string")
        if not isinstance(wanted.seed, str) or not _is_text_map(wanted.overrides):
            raise ValueError("seed must be a string, and overrides an object of strings")
        overrides.check(wanted.overrides)
        if not isinstance(wanted.harness, bool):
            raise ValueError("harness must be true or false")

    async def _page(self, request: web.Request) -> web.Response:
        try:
            wanted = PageRequest.from_json(await request.read())
            self._check_page(wanted)
            self._upstreams.require(wanted.country)
        except NoUpstream as error:
            return _refuse(502, "no_egress", str(error))
        except (ValueError, TypeError) as error:
            return _refuse(400, "bad_request", str(error))
        if self.state == "draining":
            return _refuse(503, "draining", "this runner takes no new pages")
        try:
            answer = await self._pages.fetch(wanted, wait=MAX_WAIT_SECONDS)
        except (NoPlace, ChromiumError) as error:
            return _refuse(504, "no_browser", str(error))
        return web.Response(body=answer.to_json(), content_type="application/json")

    def _check_page(self, wanted: PageRequest) -> None:
        if not isinstance(wanted.url, str) or not wanted.url.lower().startswith(("http://", "https://")):
            raise ValueError("url must be an http or https address")
        if wanted.os_family not in OS_FAMILIES or wanted.country not in self._upstreams.countries:
            raise ValueError("unknown os_family, or no egress in that country")
        if not set(wanted.block_resources) <= set(get_args(Blockable)) or wanted.wait_until not in get_args(WaitUntil):
            raise ValueError("block_resources or wait_until has an unknown value")
        if not 0 < wanted.timeout_ms <= MAX_PAGE_MS or wanted.max_chars < 0:
            raise ValueError("timeout_ms or max_chars is out of range")

    async def _egress(self, request: web.Request) -> web.Response:
        report = await self._check_egress()
        return web.Response(body=report.to_json(), content_type="application/json")

    async def _release(self, request: web.Request) -> web.Response:
        self._leases.release(request.match_info["lease_id"])
        return web.Response(status=204)

    async def _downloads(self, request: web.Request) -> web.Response:
        browser = self._leases.browser_of(request.match_info["lease_id"])
        if browser is None:
            return _refuse(404, "no_lease", "there is no such lease")
        listed = DownloadList(browser.downloads.newest_first())
        return web.Response(body=listed.to_json(), content_type="application/json")

    async def _download(self, request: web.Request) -> web.StreamResponse:
        browser = self._leases.browser_of(request.match_info["lease_id"])
        if browser is None:
            return _refuse(404, "no_lease", "there is no such lease")
        try:
            file, size = browser.downloads.open(request.match_info["download_id"])
        except NoDownload as error:
            return _refuse(404, "no_download", str(error))
        try:
            answer = web.StreamResponse(headers={"Content-Length": str(size)})
            answer.force_close()  # the end of a shorter file than promised must not look like its whole
            await answer.prepare(request)
            sent = 0
            while sent < size and not browser.gone.done():
                chunk = await asyncio.to_thread(os.pread, file, min(CHUNK, size - sent), sent)
                if not chunk:
                    break  # it is shorter now
                await answer.write(chunk)
                sent += len(chunk)
            return answer
        finally:
            os.close(file)


def _is_text_map(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def _refuse(status: int, code: RefusalCode, message: str) -> web.Response:
    body = json.dumps({"code": code, "message": message})
    return web.Response(status=status, text=body, content_type="application/json")
