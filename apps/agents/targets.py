"""What a client may name as the first page of a browser. Pure.

This is about form only. Whether an address may be reached is decided by the runner's egress when it is dialled.
"""

from __future__ import annotations

import ipaddress
import re

import idna

from apps.core.outgoing import urls

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?", re.ASCII)


def web_url(text: str) -> str:
    """`text` itself when it is an absolute http or https URL; else raises ValueError, saying what is wrong."""
    parts, host = urls.split(text)
    _check_host(host, bracketed="[" in parts.netloc)
    return text


def _check_host(host: str, *, bracketed: bool) -> None:
    try:
        if bracketed:
            ipaddress.IPv6Address(host)
            return
        name = host if host.isascii() else idna.encode(host, uts46=True).decode("ascii")
    except ValueError as error:  # idna's errors are ValueErrors
        raise ValueError("has no valid host") from error
    if not _HOST.fullmatch(name) or ".." in name or any(len(label) > 63 for label in name.split(".")):
        raise ValueError("has no valid host")
