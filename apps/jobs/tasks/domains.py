"""The domains that a task may work in. Pure.

`example.com` is that host and www.example.com; `*.example.com` is it and every host below it. Ports don't matter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from apps.core.outgoing.urls import host_name

MAX_DOMAINS = 50


def check_pattern(pattern: str) -> str:
    """The pattern in lower-case ASCII. Raises ValueError."""
    wild = "*." if pattern.startswith("*.") else ""
    try:
        return wild + host_name(pattern.removeprefix("*."))
    except ValueError as error:
        raise ValueError("must be a host such as example.com or *.example.com") from error


@dataclass(frozen=True, slots=True)
class AllowedDomains:
    """`patterns` as `check_pattern` gives them; without any, everything is permitted."""

    patterns: tuple[str, ...] = ()

    @classmethod
    def of(cls, patterns: Iterable[str]) -> AllowedDomains:
        return cls(tuple(patterns))

    def permits(self, url: str) -> bool:
        """Whether a task may be on the page. An empty page is always permitted."""
        if not self.patterns or not url or url.startswith("about:"):
            return True
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").rstrip(".")
        except ValueError:
            return False
        if parts.scheme not in ("http", "https") or not host:
            return False
        return any(_matches(pattern, host) for pattern in self.patterns)


def _matches(pattern: str, host: str) -> bool:
    if pattern.startswith("*."):
        return host == pattern[2:] or host.endswith(pattern[1:])
    return host in (pattern, f"www.{pattern}")
