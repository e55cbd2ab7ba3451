"""Speaks to the runner: `runner.wire` over HTTP on a Unix socket.

Every failure to reach it becomes UpstreamUnavailable or UpstreamTimeout, so that callers need know nothing of HTTP.
"""

from __future__ import annotations

import atexit
import functools
import logging
from typing import TypeVar

import httpx
from django.conf import settings

from apps.core.errors import UpstreamTimeout, UpstreamUnavailable
from runner import wire

M = TypeVar("M", bound=wire.Message)

log = logging.getLogger(__name__)

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 3.0
# The runner itself stops waiting for a browser after `wait_seconds`; this is for its answer to arrive.
LEASE_GRACE_SECONDS = 3.0
_CONNECTIONS = httpx.Limits(max_connections=128, max_keepalive_connections=32, keepalive_expiry=30)


class RunnerClient:
    """`address` is `unix:/path/runner.sock`. Threads may share one client."""

    def __init__(self, address: str, *, token: str) -> None:
        self._http = httpx.Client(
            base_url="http://runner",
            transport=httpx.HTTPTransport(uds=address.removeprefix("unix:"), limits=_CONNECTIONS),
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
        )

    def close(self) -> None:
        self._http.close()

    def status(self) -> wire.RunnerStatus:
        return _read(wire.RunnerStatus, self._ask("GET", "/status"))

    def leases(self) -> set[str]:
        body = self._ask("GET", "/leases").json()
        return {str(lease_id) for lease_id in body["leases"]}

    def lease(self, wanted: wire.LeaseRequest) -> wire.LeaseGranted:
        """Raises UpstreamTimeout when there was no browser in `wait_seconds`."""
        patience = wanted.wait_seconds + LEASE_GRACE_SECONDS
        answer = self._ask("POST", "/leases", content=wanted.to_json(), answer_seconds=patience)
        return _read(wire.LeaseGranted, answer)

    def extend(self, lease_id: str, *, seconds: int) -> wire.LeaseGranted | None:
        """Moves a lease's deadline to so long from now, never to an earlier time. None when there is no such lease."""
        body = wire.LeaseExtension(ttl_seconds=seconds).to_json()
        answer = self._ask("PATCH", f"/leases/{lease_id}", content=body, may_be_missing=True)
        return None if answer.status_code == httpx.codes.NOT_FOUND else _read(wire.LeaseGranted, answer)

    def release(self, lease_id: str) -> None:
        """Ends the lease; nothing happens when there is none."""
        self._ask("DELETE", f"/leases/{lease_id}")

    def _ask(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        answer_seconds: float = ANSWER_SECONDS,
        may_be_missing: bool = False,
    ) -> httpx.Response:
        timeout = httpx.Timeout(answer_seconds, connect=CONNECT_SECONDS)
        headers = {"Content-Type": "application/json"} if content is not None else None
        try:
            try:
                answer = self._http.request(method, path, content=content, headers=headers, timeout=timeout)
            except httpx.RemoteProtocolError:
                # A kept connection that the runner had closed. Every call is idempotent.
                answer = self._http.request(method, path, content=content, headers=headers, timeout=timeout)
        except httpx.HTTPError as error:  # silence too: a runner that works says itself when there is no browser
            log.warning("the runner can't be reached", extra={"cause": type(error).__name__})
            raise UpstreamUnavailable from error
        if answer.is_success or (may_be_missing and answer.status_code == httpx.codes.NOT_FOUND):
            return answer
        if answer.status_code == httpx.codes.GATEWAY_TIMEOUT:
            raise UpstreamTimeout
        log.warning("the runner refused", extra={"status": answer.status_code, "answer": answer.text[:500]})
        raise UpstreamUnavailable


def _read(kind: type[M], answer: httpx.Response) -> M:
    try:
        return kind.from_json(answer.content)
    except ValueError as error:
        log.error("the runner's answer can't be read", exc_info=error)
        raise UpstreamUnavailable from error


@functools.cache
def _client(address: str, token: str) -> RunnerClient:
    client = RunnerClient(address, token=token)
    atexit.register(client.close)
    return client


def runner_client() -> RunnerClient:
    """The client of the configured runner. Raises UpstreamUnavailable when none is configured."""
    if not settings.RUNNER_URL:
        raise UpstreamUnavailable("No runner is configured: set BROWSA_RUNNER_URL.")
    return _client(settings.RUNNER_URL, settings.RUNNER_TOKEN)
