"""Speaks to the runner: `runner.wire` over HTTP on a Unix socket. One transport for coroutines and for threads.

    UpstreamUnavailable
    ├── RunnerAway      it can't be reached, is silent, refuses, or answers what can't be read
    │   └── NotThere    it answered 404
    └── NoEgress        no upstream proxy of the country works
    UpstreamTimeout
    └── RunnerBusy      it had no browser or no slot in time

Callers need to know nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import json
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import aiohttp
from django.conf import settings

from apps.core.errors import ApiError, UpstreamTimeout, UpstreamUnavailable
from runner import wire

T = TypeVar("T")

log = logging.getLogger(__name__)

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 3.0
# The runner itself stops waiting for a browser after `wait_seconds`; this is for its answer to arrive.
LEASE_GRACE_SECONDS = 3.0
EGRESS_CHECK_SECONDS = 90.0  # more than the slowest proxy may take for a connection, a tunnel and the echo
KEEPALIVE_SECONDS = 30.0
CLOSE_SECONDS = 5.0


class RunnerAway(UpstreamUnavailable):
    """The cloud runner can't be reached. It is safe to try again."""


class NotThere(RunnerAway):
    __doc__ = RunnerAway.__doc__


class NoEgress(UpstreamUnavailable):
    """No upstream proxy of the country works. It is safe to try again."""


class RunnerBusy(UpstreamTimeout):
    """No browser was ready in time. It is safe to try again."""


async def ask(
    session: aiohttp.ClientSession,
    method: str,
    path: str,
    read: Callable[[bytes], T],
    *,
    content: bytes | None = None,
    seconds: float,
) -> T:
    """What `read` makes of the answer. Raises RunnerAway, NoEgress and RunnerBusy.

    `seconds` are for the whole answer. `read` raises ValueError for what it can't read.
    """
    timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)
    try:
        try:
            status, body = await _send(session, method, path, content, timeout)
        except aiohttp.ServerDisconnectedError:
            # A kept connection that the runner had closed. Every call is idempotent; to load a page twice does no harm.
            status, body = await _send(session, method, path, content, timeout)
    except (aiohttp.ClientError, TimeoutError) as error:  # silence too: a runner that works says itself that it is busy
        log.warning("the runner can't be reached", extra={"cause": type(error).__name__})
        raise RunnerAway from error
    if status == HTTPStatus.NOT_FOUND:
        raise NotThere
    if status == HTTPStatus.GATEWAY_TIMEOUT:
        raise RunnerBusy
    if status == HTTPStatus.BAD_GATEWAY:
        log.warning("the runner has no egress", extra={"answer": body[:500].decode(errors="replace")})
        raise NoEgress(_message_of_refusal(body))
    if status not in (HTTPStatus.OK, HTTPStatus.NO_CONTENT):
        log.warning("the runner refused", extra={"status": status, "answer": body[:500].decode(errors="replace")})
        raise RunnerAway
    try:
        return read(body)
    except ValueError as error:
        log.error("the runner's answer can't be read", exc_info=error)
        raise RunnerAway from error


async def _send(
    session: aiohttp.ClientSession, method: str, path: str, content: bytes | None, timeout: aiohttp.ClientTimeout
) -> tuple[int, bytes]:
    headers = {"Content-Type": "application/json"} if content is not None else None
    async with session.request(
        method, f"http://runner{path}", data=content, headers=headers, timeout=timeout
    ) as answer:
        return answer.status, await answer.read()


def _open(address: str, token: str) -> aiohttp.ClientSession:
    # The runner says how much it does at once: no call waits here for a connection.
    path = address.removeprefix("unix:")
    return aiohttp.ClientSession(
        connector=aiohttp.UnixConnector(path, limit=0, keepalive_timeout=KEEPALIVE_SECONDS),
        headers={"Authorization": f"Bearer {token}"},
    )


def _configured() -> tuple[str, str]:
    if not settings.RUNNER_URL:
        raise UpstreamUnavailable("No runner is configured: set BROWSA_RUNNER_URL.")
    return settings.RUNNER_URL, settings.RUNNER_TOKEN


_sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str], aiohttp.ClientSession]] = (
    WeakKeyDictionary()
)


def runner_session() -> aiohttp.ClientSession:
    """One for each event loop, which keeps its connections. Raises UpstreamUnavailable when no runner is configured."""
    address = _configured()
    ours = _sessions.setdefault(asyncio.get_running_loop(), {})
    if address not in ours:
        ours[address] = _open(*address)
    return ours[address]


async def close() -> None:
    """Closes this event loop's connections."""
    for session in _sessions.pop(asyncio.get_running_loop(), {}).values():
        await session.close()


class RunnerClient:
    """For threads, which may share one client: a thread of its own runs the event loop that speaks to the runner.

    `address` is `unix:/path/runner.sock`.
    """

    def __init__(self, address: str, *, token: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="runner-client", daemon=True)
        self._thread.start()
        self._session = self._wait_for(self._opened(address, token))

    def close(self) -> None:
        self._wait_for(self._session.close(), CLOSE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def status(self) -> wire.RunnerStatus:
        return self._ask("GET", "/status", wire.RunnerStatus.from_json)

    def leases(self) -> set[str]:
        return self._ask("GET", "/leases", _lease_ids)

    def lease(self, wanted: wire.LeaseRequest) -> wire.LeaseGranted:
        """Raises RunnerBusy when there was no browser in `wait_seconds`, NoEgress when its country has no way out."""
        patience = wanted.wait_seconds + LEASE_GRACE_SECONDS
        return self._ask(
            "POST", "/leases", wire.LeaseGranted.from_json, content=wanted.to_json(), answer_seconds=patience
        )

    def check_egress(self) -> wire.EgressReport:
        return self._ask("POST", "/egress/check", wire.EgressReport.from_json, answer_seconds=EGRESS_CHECK_SECONDS)

    def extend(self, lease_id: str, *, seconds: int) -> wire.LeaseGranted | None:
        """Moves a lease's deadline to so long from now, never to an earlier time. None when there is no such lease."""
        body = wire.LeaseExtension(ttl_seconds=seconds).to_json()
        try:
            return self._ask("PATCH", f"/leases/{lease_id}", wire.LeaseGranted.from_json, content=body)
        except NotThere:
            return None

    def downloads(self, lease_id: str) -> list[wire.Download] | None:
        """What its browser has downloaded, newest first. None when there is no such lease."""
        try:
            return self._ask("GET", f"/leases/{lease_id}/downloads", wire.DownloadList.from_json).downloads
        except NotThere:
            return None

    def release(self, lease_id: str) -> None:
        """Ends the lease; nothing happens when there is none."""
        self._ask("DELETE", f"/leases/{lease_id}", bytes)

    def _ask(
        self,
        method: str,
        path: str,
        read: Callable[[bytes], T],
        *,
        content: bytes | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> T:
        seconds = CONNECT_SECONDS + answer_seconds
        return self._wait_for(ask(self._session, method, path, read, content=content, seconds=seconds))

    def _wait_for(self, work: Coroutine[Any, Any, T], seconds: float | None = None) -> T:
        waiting = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return waiting.result(seconds)
        except BaseException:  # of this thread too, Ctrl-C for one: then the work is over
            waiting.cancel()
            raise

    async def _opened(self, address: str, token: str) -> aiohttp.ClientSession:
        return _open(address, token)


def _message_of_refusal(body: bytes) -> str:
    """For the API's caller, from the runner's refusal, which names the country."""
    try:
        message = str(json.loads(body)["message"])
    except (ValueError, LookupError, TypeError):
        return ""
    return f"{message[:1].upper()}{message[1:]}. It is safe to try again."


def _lease_ids(body: bytes) -> set[str]:
    return {str(lease_id) for lease_id in json.loads(body)["leases"]}


@functools.cache
def _client(address: str, token: str, process: int) -> RunnerClient:
    """Threads do not survive a fork: each process has its own client."""
    client = RunnerClient(address, token=token)
    atexit.register(client.close)
    return client


def runner_client() -> RunnerClient:
    """The client of the configured runner. Raises UpstreamUnavailable when none is configured."""
    return _client(*_configured(), os.getpid())


def current_boots() -> dict[str, str]:
    """The boot id of each runner that answers, by runner id."""
    try:
        status = runner_client().status()
    except ApiError:
        return {}
    return {status.runner_id: status.boot_id}
