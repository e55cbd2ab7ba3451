"""Host names that the runner answers itself, to one browser at a time and only while that browser is measured.

They end in `.localhost`: no resolver asks a name server for these (RFC 6761, 6.3), and Chromium gives a page there the
APIs of a secure context over plain http, so no certificate and no flag is needed. Chromium sends them to its proxy as
any other name, because of `--proxy-bypass-list=<-loopback>`. All other browsers get the answer that every loopback
address gets.
"""

from __future__ import annotations

import socket
from typing import Protocol

from runner.egress.connect import DialError, Refusal
from runner.wire import HARNESS_HOST

PAGE_HOST = HARNESS_HOST
FRAME_HOST = "browsa-frame.localhost"  # another site, for frames and popups
OWN_HOSTS = frozenset({PAGE_HOST, FRAME_HOST})


class OwnSite(Protocol):
    """Pages of the runner."""

    def connect(self, host: str, port: int) -> socket.socket:
        """The browser's end of a new connection."""
        ...


def connect_own(site: OwnSite | None, host: str, port: int) -> socket.socket | None:
    """A connection to `site` when `host` is one of `OWN_HOSTS`; None for others. Raises DialError without a site."""
    if host.lower() not in OWN_HOSTS:
        return None
    if site is None:
        raise DialError(Refusal.POLICY, host)
    return site.connect(host.lower(), port)
