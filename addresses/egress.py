"""The operator's egress table, `EGRESS_COUNTRIES`: how each country's browsers leave. Standard library only."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote, urlsplit

Scheme = Literal["http", "https", "socks5"]
SCHEMES: tuple[Scheme, ...] = ("http", "https", "socks5")

SESSION = "{session}"
SESSION_LENGTH = 16
MAX_SOCKS_FIELD = 255  # bytes of a user or password, RFC 1929


@dataclass(frozen=True, slots=True)
class Upstream:
    """An upstream proxy. `username` and `password` are percent-encoded, as in the URL, and may contain `{session}`.

    The scheme says how the proxy itself is spoken to: http and https use CONNECT, https inside TLS to the proxy.
    """

    scheme: Scheme
    host: str
    port: int
    username: str | None = field(default=None, repr=False)
    password: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """The URL without credentials: for logs and reports."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def login(self, session: str) -> tuple[str, str] | None:
        """User and password for one session, which is `SESSION_LENGTH` letters and digits; None without a user."""
        if self.username is None:
            return None
        return unquote(self.username.replace(SESSION, session)), unquote(self.password.replace(SESSION, session))


Countries = dict[str, Literal["direct"] | tuple[Upstream, ...]]


def parse_countries(text: str) -> Countries:
    """Parses `{"us": "direct", "de": ["http://user:password@proxy:3128", "socks5://other:1080"]}`.

    A country's value is "direct", the URL of an upstream proxy, or a list of such URLs. The first country is the
    default. Raises ValueError; its message begins with the setting's name and contains no URL.
    """
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise ValueError(f"EGRESS_COUNTRIES is not JSON: {error}") from error
    if not isinstance(parsed, dict) or not parsed:
        raise ValueError('EGRESS_COUNTRIES must be an object such as {"us": "direct"}')
    countries: Countries = {}
    for code, value in parsed.items():
        if not re.fullmatch(r"[a-z]{2}", code):
            raise ValueError(f"EGRESS_COUNTRIES: {code!r} is not a lower-case ISO code of two letters")
        if value == "direct":
            countries[code] = "direct"
            continue
        urls = value if isinstance(value, list) else [value]
        if not urls:
            raise ValueError(f"EGRESS_COUNTRIES[{code!r}] is an empty list")
        upstreams = []
        for number, url in enumerate(urls, 1):
            try:
                upstreams.append(_parse_upstream(url))
            except ValueError as error:
                position = f", number {number}" if isinstance(value, list) else ""
                # Without the cause: its message may contain a part of the URL.
                raise ValueError(f"EGRESS_COUNTRIES[{code!r}]{position}: {error}") from None
        if len(set(upstreams)) < len(upstreams):
            raise ValueError(f"EGRESS_COUNTRIES[{code!r}] contains the same URL twice")
        countries[code] = tuple(upstreams)
    return countries


def _parse_upstream(url: object) -> Upstream:
    """Raises ValueError; its message must not contain the URL, which may hold a password."""
    parts = port = None
    if isinstance(url, str):
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:  # an invalid port or bracket
            parts = None
    if parts is None or parts.scheme not in SCHEMES or not parts.hostname or not port:
        raise ValueError(f'must be "direct" or a URL such as http://host:port; schemes: {", ".join(SCHEMES)}')
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("the URL must end after the port; percent-encode special characters of the password")
    username, password = parts.username, parts.password or ""
    if re.search(r"[{}]", f"{username or ''}{password}".replace(SESSION, "")):
        raise ValueError(f"{SESSION} is the only placeholder; write other braces as %7B and %7D")
    upstream = Upstream(parts.scheme, parts.hostname, port, username, password)
    login = upstream.login("0" * SESSION_LENGTH)
    if login is not None:
        if upstream.scheme == "socks5" and (
            not login[0] or any(len(word.encode()) > MAX_SOCKS_FIELD for word in login)
        ):
            raise ValueError("of a socks5 proxy the user has 1 to 255 bytes and the password at most 255 (RFC 1929)")
        if upstream.scheme != "socks5" and ":" in login[0]:
            raise ValueError("the user of an http proxy must not contain a colon (RFC 7617)")
    return upstream
