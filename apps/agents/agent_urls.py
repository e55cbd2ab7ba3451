"""The URLs by which a client drives an agent, and people watch it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CdpUrls:
    cdp_url: str
    cdp_http: str


def cdp_urls(public_cdp_url: str, *, profile: str, page_id: str) -> CdpUrls:
    """`public_cdp_url` is the gateway's address as clients see it: ws:// or wss://."""
    base = f"{public_cdp_url}/api/v1/cdp/{profile}"
    return CdpUrls(cdp_url=f"{base}/ws/page/{page_id}", cdp_http=re.sub(r"^ws", "http", base))


def live_url(public_url: str, capability: str) -> str:
    """The page that shows an agent's browser to whoever holds `capability`. `public_url` is the API's address."""
    return f"{public_url}/live/{capability}"


def live_socket_url(public_cdp_url: str, capability: str) -> str:
    """Where that page gets its pictures from: the gateway."""
    return f"{public_cdp_url}/api/v1/live/{capability}"
