"""The URLs of an agent: for CDP clients and for its live view. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CdpUrls:
    cdp_url: str
    cdp_http: str


def cdp_urls(public_cdp_url: str, *, profile: str, page_id: str) -> CdpUrls:
    """`public_cdp_url` is the URL of the gateway for clients: ws:// or wss://."""
    base = f"{public_cdp_url}/api/v1/cdp/{profile}"
    return CdpUrls(cdp_url=f"{base}/ws/page/{page_id}", cdp_http=re.sub(r"^ws", "http", base))


def live_url(public_url: str, capability: str) -> str:
    """The page that shows an agent's browser. `capability` grants access. `public_url` is the URL of the API."""
    return f"{public_url}/live/{capability}"


def live_socket_url(public_cdp_url: str, capability: str) -> str:
    """The WebSocket from which that page gets its frames. The gateway serves it."""
    return f"{public_cdp_url}/api/v1/live/{capability}"
