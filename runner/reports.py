"""Report to the API which leases ended, and retry until it accepts.

Undelivered reports are not saved when the runner stops: the next start's first report ends all older leases.
"""

from __future__ import annotations

import asyncio
import logging

import aiohttp

from runner.wire import LeaseEnded, RunnerReport

log = logging.getLogger("browsa.runner.reports")

MAX_BACKOFF_SECONDS = 5.0
TIMEOUT = aiohttp.ClientTimeout(total=5)
BATCH = 500


class Reporter:
    """Delivers reports in order, one at a time. Without a `url` (a runner without an API) it only logs."""

    def __init__(self, url: str | None, *, token: str, runner_id: str, boot_id: str) -> None:
        self._url = url
        self._token = token
        self._runner_id = runner_id
        self._boot_id = boot_id
        self._ended: list[LeaseEnded] = []
        self._due = asyncio.Event()
        self._idle = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Report this start of the runner, and then the leases from `add`."""
        self._due.set()
        self._task = asyncio.create_task(self._run(), name="reporter")

    def add(self, ended: LeaseEnded) -> None:
        log.info("lease %s ended: %s", ended.lease_id, ended.reason)
        if self._url is None:
            return
        self._ended.append(ended)
        self._idle.clear()
        self._due.set()

    async def flush(self, *, seconds: float) -> None:
        """Give the last reports `seconds` to arrive, then stop."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            log.warning(
                "%d ended leases could not be reported; the next start of the runner ends them",
                len(self._ended),
            )
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        if self._url is None:
            self._idle.set()
            return
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        async with aiohttp.ClientSession(headers=headers, timeout=TIMEOUT) as session:
            while True:
                await self._due.wait()
                self._due.clear()
                pause, reported = 0.1, False
                while not reported or self._ended:
                    batch = self._ended[:BATCH]
                    reported = await self._post(session, self._url, RunnerReport(self._runner_id, self._boot_id, batch))
                    if reported:
                        del self._ended[: len(batch)]
                    else:
                        await asyncio.sleep(pause)
                        pause = min(MAX_BACKOFF_SECONDS, pause * 2)
                self._idle.set()

    async def _post(self, session: aiohttp.ClientSession, url: str, report: RunnerReport) -> bool:
        try:
            async with session.post(url, data=report.to_json(), allow_redirects=False) as answer:
                if 200 <= answer.status < 300:
                    return True
                log.warning("the API answered a report with %d", answer.status)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.debug("the API cannot be reached for a report: %s", error)
        return False
