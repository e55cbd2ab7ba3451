"""Open the outgoing connection that a browser requests, under the address policy.

A direct connection resolves the name once, checks the addresses and connects to one of those. Through a country's
upstream proxies nothing is resolved here: the proxy gets the name. The policy then checks what can be checked without
DNS: literal addresses, and names that never belong to a public site.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from addresses.policy import (
    Address,
    AllowRule,
    is_host_name,
    is_permitted,
    is_public_name,
    parse_address,
    unmapped,
)
from runner.egress.connect import MAX_ADDRESSES, DialError, Refusal, SiteEnd, connect, resolve
from runner.egress.upstreams import Route

Resolver = Callable[[str], Awaitable[list[Address]]]


class Dialer:
    """Outgoing connections under one address policy."""

    def __init__(self, allow: tuple[AllowRule, ...], *, resolver: Resolver = resolve) -> None:
        self._allow = allow
        self._resolve = resolver

    async def dial(self, host: str, port: int, *, route: Route) -> SiteEnd:
        """A connection to `host`, a name or an address. Raises DialError."""
        if isinstance(route, str):
            return await self._directly(host, port)
        address = parse_address(host)
        if address is not None:
            if not is_permitted(address, port, self._allow):
                raise DialError(Refusal.POLICY, host)
            return await route.open(str(unmapped(address)), port)
        if not is_host_name(host):
            raise DialError(Refusal.NAME, "not a host name")
        if not is_public_name(host):
            raise DialError(Refusal.POLICY, host)
        return await route.open(host, port)

    async def _directly(self, host: str, port: int) -> SiteEnd:
        literal = parse_address(host)
        found = [literal] if literal is not None else await self._resolve(host)
        if not found:
            raise DialError(Refusal.NAME, host)
        permitted = [unmapped(address) for address in found if is_permitted(address, port, self._allow)]
        if not permitted:
            raise DialError(Refusal.POLICY, host)
        failure = DialError(Refusal.UNREACHABLE, host)
        for address in permitted[:MAX_ADDRESSES]:
            try:
                sock = await connect(str(address), port)
            except DialError as error:
                failure = error
                continue
            # Connections to this machine's own public address bypass its firewall.
            itself = sock.getsockname()[0] == sock.getpeername()[0]
            if not itself or any(rule.permits(address, port) for rule in self._allow):
                return await SiteEnd.over(sock)
            sock.close()
            failure = DialError(Refusal.POLICY, "this machine")
        raise failure
