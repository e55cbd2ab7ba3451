"""What a client may name as the first page of a browser. Pure.

This is about form only. Whether an address may be reached is decided by the runner's egress when it is dialled.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

import idna

MAX_LENGTH = 2048
_FORBIDDEN = re.compile(r"[\s\x00-\x20\x7f-\x9f\\]")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?", re.ASCII)


def web_url(text: str) -> str:
    """`text` itself when it is an absolute http or https URL; else raises ValueError, saying what is wrong."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"may have {MAX_LENGTH} characters at most")
    if _FORBIDDEN.search(text):
        raise ValueError("may not hold spaces, control characters or backslashes")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError("is not a URL") from error
    if parts.scheme not in ("http", "https"):
        raise ValueError("must begin with http:// or https://")
    if not text[len(parts.scheme) :].startswith("://") or not host:
        raise ValueError("must name a host")
    if "@" in parts.netloc:
        raise ValueError("may not hold a user name or password")
    if port == 0 or parts.netloc.endswith(":"):
        raise ValueError("has no valid port")
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
