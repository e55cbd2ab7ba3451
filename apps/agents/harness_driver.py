"""Drives a browser of a harness lease over raw CDP, as a client of the gateway. No domain is enabled."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from websockets.sync.connection import Connection

OPEN_SECONDS = 10.0
PAGE_SECONDS = 30.0
RETRY_SECONDS = 0.05
LOADED = "new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', () => done()))"


class HarnessError(Exception):
    """A page did not load, or its script failed."""


@contextmanager
def driven(cdp_url: str) -> Iterator[HarnessDriver]:
    """Raises HarnessError when the browser is gone, also from what is done in it."""
    try:
        with connect(cdp_url, open_timeout=OPEN_SECONDS, max_size=None, compression=None, proxy=None) as socket:
            yield HarnessDriver(socket)
    except (OSError, WebSocketException) as error:
        raise HarnessError(f"the browser does not answer: {error}") from error


class HarnessDriver:
    def __init__(self, socket: Connection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)

    def accept_any_certificate(self) -> None:
        """For as long as this driver is connected. Raises HarnessError."""
        self._call("Security.setIgnoreCertificateErrors", time.monotonic() + PAGE_SECONDS, ignore=True)

    def verify_certificates(self) -> None:
        self._call("Security.setIgnoreCertificateErrors", time.monotonic() + PAGE_SECONDS, ignore=False)

    def read(self, url: str, expression: str) -> Any:
        """Open `url` and evaluate `expression` in it, after the load. Raises HarnessError."""
        until = time.monotonic() + PAGE_SECONDS
        self._call("Page.navigate", until, url="about:blank")
        opened = self._call("Page.navigate", until, url=url)
        if reason := opened.get("errorText"):
            raise HarnessError(f"{url}: {reason}")
        while True:
            try:
                return self._evaluate(f"{LOADED}.then(() => ({expression}))", until)
            except _PageGone:  # the evaluation began in the page before
                time.sleep(RETRY_SECONDS)

    def _evaluate(self, expression: str, until: float) -> Any:
        answer = self._call(
            "Runtime.evaluate",
            until,
            expression=f"location.href === 'about:blank' ? Promise.reject('about:blank') : {expression}",
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" not in answer:
            return answer["result"].get("value")
        thrown = answer["exceptionDetails"].get("exception", {})
        if thrown.get("value") == "about:blank":
            raise _PageGone
        raise HarnessError(f"the script failed: {thrown.get('description') or thrown.get('value')}")

    def _call(self, method: str, until: float, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while (left := until - time.monotonic()) > 0:
            try:
                message = json.loads(self._socket.recv(timeout=left))
            except TimeoutError:
                break
            if message.get("id") == number:
                if "error" not in message:
                    return dict(message["result"])
                if "context" in message["error"]["message"] or "navigat" in message["error"]["message"]:
                    raise _PageGone
                raise HarnessError(f"{method}: {message['error']['message']}")
        raise HarnessError(f"{method}: no answer in {PAGE_SECONDS:g} s")


class _PageGone(Exception):
    """The evaluation's page was replaced by the next one."""
