"""Checks the form of URLs to which callers may have requests sent. Pure: no name is resolved.

`network` refuses a name that resolves to an internal address when it connects: an earlier check would be outdated.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlsplit

import idna

from addresses.policy import Address, AllowRule, is_permitted, parse_address

MAX_LENGTH = 2048
_PORTS = {"http": 80, "https": 443}
_FORBIDDEN = re.compile(r"[\s\x00-\x20\x7f-\x9f\\]")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?", re.ASCII)
# https://url.spec.whatwg.org/#ends-in-a-number-checker: resolvers treat such a host as an address.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
# The characters of a request target (RFC 3986), and `%`: encoded characters stay encoded.
_SAFE = "!$%&'()*+,-./:;=?@_~"
_FORBIDDEN_ADDRESS = "leads to an address that may not be reached from here"
_LOOPBACK = (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1"))


class BadUrl(ValueError):
    """The message completes a sentence that begins with the URL."""


class ForbiddenUrl(BadUrl):
    """The URL is valid, but its address may not be reached from here."""


@dataclass(frozen=True, slots=True)
class Destination:
    """The parts of a URL. `host` is ASCII without brackets; `address` is set when the host is an address."""

    scheme: str
    host: str
    port: int
    target: str
    address: Address | None

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.host_header}"


def split(text: str) -> tuple[SplitResult, str]:
    """The parts of an http or https URL, and its host as written. Raises BadUrl for any other text."""
    if len(text) > MAX_LENGTH:
        raise BadUrl(f"may have at most {MAX_LENGTH} characters")
    if _FORBIDDEN.search(text):
        raise BadUrl("may not contain spaces, control characters or backslashes")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadUrl("is not a URL") from error
    if parts.scheme not in _PORTS:
        raise BadUrl("must begin with http:// or https://")
    if not text[len(parts.scheme) :].startswith("://") or not host:
        raise BadUrl("must name a host")
    if "@" in parts.netloc:
        raise BadUrl("may not contain a user name or password")
    if port == 0 or parts.netloc.endswith(":"):
        raise BadUrl("has no valid port")
    return parts, host


def host_name(text: str) -> str:
    """A host name in lower-case ASCII, without a trailing dot. Raises BadUrl."""
    try:
        # UTS 46 also turns look-alikes of digits and dots into plain ones.
        name = text if text.isascii() else idna.encode(text, uts46=True).decode("ascii")
    except UnicodeError as error:  # idna's errors are UnicodeErrors
        raise BadUrl("has no valid host") from error
    name = name.lower().removesuffix(".")
    if not _HOST.fullmatch(name) or ".." in name or any(len(label) > 63 for label in name.split(".")):
        raise BadUrl("has no valid host")
    return name


def web_url(text: str) -> str:
    """Returns `text` when a browser can open it: an absolute http or https URL. Raises BadUrl.

    Only the form is checked; addresses in unusual spellings pass, because the runner's egress checks the connection.
    """
    parts, host = split(text)
    if "[" in parts.netloc:
        try:
            ipaddress.IPv6Address(host)
        except ipaddress.AddressValueError as error:
            raise BadUrl("has no valid host") from error
    else:
        host_name(host)
    return text


def browser_url(text: str, allow: Sequence[AllowRule]) -> str:
    """`web_url`, and refuses literal addresses and `localhost` unless the policy permits them. Raises BadUrl."""
    parts, host = split(web_url(text))
    address = parse_address(host)
    if address is not None:
        addresses: tuple[Address, ...] = (address,)
    elif host_name(host) == "localhost" or host_name(host).endswith(".localhost"):
        addresses = _LOOPBACK
    else:
        return text
    port = parts.port or _PORTS[parts.scheme]
    if not any(is_permitted(one, port, tuple(allow)) for one in addresses):
        raise ForbiddenUrl(_FORBIDDEN_ADDRESS)
    return text


def parse(text: str) -> Destination:
    """Raises BadUrl, also for an address in a form that only some programs accept as an address."""
    parts, host = split(text)
    name, address = _parse_host(host, bracketed="[" in parts.netloc)
    target = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")
    return Destination(parts.scheme, name, parts.port or _PORTS[parts.scheme], target, address)


def check(text: str, allow: Sequence[AllowRule]) -> Destination:
    """`parse`, and refuses literal addresses and `localhost` unless the policy permits them. Raises BadUrl."""
    destination = parse(text)
    if destination.address is not None:
        addresses: tuple[Address, ...] = (destination.address,)
    elif destination.host == "localhost" or destination.host.endswith(".localhost"):
        addresses = _LOOPBACK  # RFC 6761, 6.3: without asking a resolver
    else:
        return destination
    if not any(is_permitted(address, destination.port, tuple(allow)) for address in addresses):
        raise ForbiddenUrl(_FORBIDDEN_ADDRESS)
    return destination


def _parse_host(host: str, *, bracketed: bool) -> tuple[str, Address | None]:
    try:
        if bracketed:
            six = ipaddress.IPv6Address(host)
            if six.scope_id is not None:
                raise BadUrl("may not name a network zone")
            return str(six), six
    except ipaddress.AddressValueError as error:
        raise BadUrl("has no valid host") from error
    name = host_name(host)
    if not _NUMBER.fullmatch(name.rpartition(".")[2]):
        return name, None
    try:
        four = ipaddress.IPv4Address(name)
    except ValueError as error:
        raise BadUrl("has an address in an unusual form: write it as four numbers with dots") from error
    return str(four), four
