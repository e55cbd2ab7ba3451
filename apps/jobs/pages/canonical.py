"""URLs as a crawl compares them. Pure.

Two spellings of one address become one: scheme and host in lower case, IDNA, no default port, no fragment, dot
segments resolved, percent-encoding normalised (RFC 3986 section 6.2.2). What may mean another page is kept: the
trailing slash, the query with its order, the case of the path.
"""

from __future__ import annotations

from urllib.parse import urljoin

from yarl import URL

from apps.core.outgoing.urls import web_url


def canonical(url: str, *, base: str | None = None) -> str:
    """The one spelling of `url`, which may be relative to `base`. Raises ValueError when it is no web address."""
    text = url.strip("\t\n\f\r ")
    if base is not None:
        text = urljoin(base, text)
    parsed = URL(text).with_fragment(None)
    if parsed.user is not None or parsed.password is not None:
        raise ValueError("may not hold a user name or password")
    return web_url(str(parsed.with_path(parsed.raw_path or "/", encoded=True, keep_query=True)))


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a canonical URL (RFC 6454)."""
    parsed = URL(url)
    return parsed.scheme, parsed.raw_host or "", parsed.port or 0
