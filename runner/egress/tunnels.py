"""Tunnels through upstream proxies: HTTP CONNECT (RFC 9110, 9.3.6), the same inside TLS, and SOCKS5 (RFC 1928, 1929).

The proxy gets the host name of the site and resolves it, so nothing is resolved at the runner's location except the
proxy's own name. Each failure is either the proxy's (`UpstreamFailed`) or the site's (`SiteFailed`); a proxy that is
silent after it got the site's name can be either (`SilentTunnel`).
"""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from enum import Enum

from addresses.egress import Upstream
from addresses.policy import parse_address
from runner.egress import connect
from runner.egress.connect import DialError, Refusal, SiteEnd

ANSWER_SECONDS = 20.0  # for a tunnel; behind a residential exit some take several
PROBE_SECONDS = 10.0
MAX_HEAD = 16 * 1024
PROBE_TARGET = "browsa-probe.invalid"  # RFC 6761: exists nowhere, so that a probe reaches nothing but the proxy


class Fault(Enum):
    """What is wrong with an upstream proxy; the values are for logs and reports."""

    NAME = "its name is not resolved"
    REFUSED = "it refuses connections"
    UNREACHABLE = "it is unreachable"
    TIMEOUT = "it does not accept a connection in time"
    TLS = "no TLS connection"
    AUTH = "it rejects the credentials"
    PROTOCOL = "it does not speak the protocol of its URL"
    SILENT = "it accepts connections but does not answer"


_FAULTS = {
    Refusal.NAME: Fault.NAME,
    Refusal.REFUSED: Fault.REFUSED,
    Refusal.UNREACHABLE: Fault.UNREACHABLE,
    Refusal.TIMEOUT: Fault.TIMEOUT,
}

# RFC 1928, section 6. Other codes say nothing about the site.
_SOCKS_REFUSALS = {3: Refusal.UNREACHABLE, 4: Refusal.UNREACHABLE, 5: Refusal.REFUSED, 6: Refusal.TIMEOUT}


class TunnelError(Exception):
    """No tunnel."""


class UpstreamFailed(TunnelError):
    """The proxy does not work, whatever the site."""

    def __init__(self, fault: Fault, detail: str = "") -> None:
        super().__init__(f"{fault.value}{f' ({detail})' if detail else ''}")
        self.fault = fault


class SiteFailed(TunnelError):
    """The proxy works and answers that it does not reach this site."""

    def __init__(self, refusal: Refusal, detail: str) -> None:
        super().__init__(detail)
        self.refusal = refusal


class SilentTunnel(TunnelError):
    """The proxy is silent about this site."""


async def open_tunnel(upstream: Upstream, host: str, port: int, *, session: str, tls: ssl.SSLContext | None) -> SiteEnd:
    """A tunnel to `host`, a name or an address, through `upstream`. Raises TunnelError.

    `tls` verifies an https proxy; the other kinds need none.
    """
    end = await _reach(upstream, tls)
    try:
        if upstream.scheme == "socks5":
            await _greet_socks5(end, upstream, session)
            await _ask_socks5(end, host, port)
        else:
            await _ask_http(end, upstream, host, port, session)
    except BaseException:
        end.close()
        raise
    return end


async def probe(upstream: Upstream, *, session: str, tls: ssl.SSLContext | None) -> None:
    """Check that `upstream` accepts connections and credentials, without a site. Raises UpstreamFailed."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            end = await _reach(upstream, tls)
            try:
                if upstream.scheme == "socks5":
                    await _greet_socks5(end, upstream, session)
                else:
                    await _ask_http(end, upstream, PROBE_TARGET, 443, session)
            finally:
                end.close()
    except SiteFailed:
        return
    except (SilentTunnel, TimeoutError) as error:
        raise UpstreamFailed(Fault.SILENT) from error


async def _reach(upstream: Upstream, tls: ssl.SSLContext | None) -> SiteEnd:
    """A connection to the proxy itself, to which the address policy does not apply. Raises UpstreamFailed."""
    try:
        literal = parse_address(upstream.host)
        found = [literal] if literal is not None else await connect.resolve(upstream.host)
        failure = DialError(Refusal.NAME, upstream.host)
        for address in found[: connect.MAX_ADDRESSES]:
            try:
                sock = await connect.connect(str(address), upstream.port)
                break
            except DialError as error:
                failure = error
        else:
            raise failure
    except DialError as error:
        raise UpstreamFailed(_FAULTS[error.refusal]) from error
    if upstream.scheme != "https":
        tls = None
    else:
        assert tls is not None
    try:
        async with asyncio.timeout(connect.CONNECT_SECONDS):
            return await SiteEnd.over(sock, tls=tls, server_name=upstream.host if tls else None)
    except ssl.SSLCertVerificationError as error:
        raise UpstreamFailed(Fault.TLS, f"its certificate is not valid: {error.verify_message}") from error
    except (OSError, TimeoutError) as error:
        raise UpstreamFailed(Fault.TLS if tls else Fault.UNREACHABLE) from error


async def _ask_http(end: SiteEnd, upstream: Upstream, host: str, port: int, session: str) -> None:
    """CONNECT. Raises TunnelError."""
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    request = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
    if (login := upstream.login(session)) is not None:
        request += f"Proxy-Authorization: Basic {base64.b64encode(':'.join(login).encode()).decode()}\r\n"
    end.write(f"{request}\r\n".encode())
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            head = await end.read_until(b"\r\n\r\n", starts=b"HTTP/1.", limit=MAX_HEAD)
    except TimeoutError as error:
        raise SilentTunnel(f"no answer to CONNECT in {ANSWER_SECONDS:g} s") from error
    except EOFError as error:
        raise SilentTunnel("it closed the connection without an answer to CONNECT") from error
    except ValueError as error:
        raise UpstreamFailed(Fault.PROTOCOL) from error
    status = re.match(rb"HTTP/1\.[01] ([1-5][0-9][0-9])[ \r]", head)
    if status is None:
        raise UpstreamFailed(Fault.PROTOCOL)
    code = int(status[1])
    if code in (401, 407):
        raise UpstreamFailed(Fault.AUTH, f"CONNECT answered {code}")
    if not 200 <= code < 300:
        raise SiteFailed(Refusal.TUNNEL, f"CONNECT answered {code}")


async def _greet_socks5(end: SiteEnd, upstream: Upstream, session: str) -> None:
    """Method and login. Raises UpstreamFailed: no site is named yet."""
    login = upstream.login(session)
    try:
        async with asyncio.timeout(connect.CONNECT_SECONDS):
            end.write(b"\x05\x01\x00" if login is None else b"\x05\x01\x02")
            version, method = await end.read_exactly(2)
            if version != 5:
                raise UpstreamFailed(Fault.PROTOCOL)
            if method == 2 and login is not None:
                user, password = (word.encode() for word in login)
                end.write(bytes([1, len(user)]) + user + bytes([len(password)]) + password)
                if (await end.read_exactly(2))[1] != 0:
                    raise UpstreamFailed(Fault.AUTH)
            elif method != 0:
                raise UpstreamFailed(Fault.AUTH, "it wants another authentication than the URL has")
    except (TimeoutError, EOFError) as error:
        raise UpstreamFailed(Fault.SILENT) from error


async def _ask_socks5(end: SiteEnd, host: str, port: int) -> None:
    """CONNECT. Raises TunnelError."""
    address = parse_address(host)
    if address is None:
        name = host.encode("ascii")
        target = bytes([3, len(name)]) + name
    else:
        target = bytes([4 if address.version == 6 else 1]) + address.packed
    end.write(b"\x05\x01\x00" + target + port.to_bytes(2, "big"))
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            version, reply, _zero, kind = await end.read_exactly(4)
            if version != 5 or (reply == 0 and kind not in (1, 3, 4)):
                raise UpstreamFailed(Fault.PROTOCOL)
            if reply != 0:
                raise SiteFailed(_SOCKS_REFUSALS.get(reply, Refusal.TUNNEL), f"SOCKS answered {reply}")
            length = {1: 4, 4: 16}.get(kind) or (await end.read_exactly(1))[0]
            await end.read_exactly(length + 2)
    except TimeoutError as error:
        raise SilentTunnel(f"no SOCKS answer in {ANSWER_SECONDS:g} s") from error
    except EOFError as error:
        raise SilentTunnel("it closed the connection without a SOCKS answer") from error
