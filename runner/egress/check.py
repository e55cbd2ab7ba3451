"""Checks every way out at once, for `manage.py check_egress`: what works, how fast, and with which address."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import urlsplit

from addresses.egress import Upstream
from addresses.policy import parse_address
from runner.egress.connect import DialError, SiteEnd
from runner.egress.dial import Dialer
from runner.egress.tunnels import TunnelError
from runner.egress.upstreams import Upstreams, session_of
from runner.wire import EgressReport, ExitCheck

ECHO_SECONDS = 15.0
MAX_ECHO = 64 * 1024


class EchoFailed(Exception):
    """The way out works, but the echo service does not answer with an address."""


async def check_egress(upstreams: Upstreams, dialer: Dialer, *, echo_url: str | None) -> EgressReport:
    """Dial every upstream proxy. With `echo_url`, ask that service for the exit address, also of direct countries."""
    ways: list[tuple[str, Upstream | None]] = []
    for country, members in upstreams.countries.items():
        ways += [(country, None)] if isinstance(members, str) else [(country, upstream) for upstream in members]
    return EgressReport(
        list(await asyncio.gather(*(_check(upstreams, dialer, country, way, echo_url) for country, way in ways)))
    )


async def _check(
    upstreams: Upstreams, dialer: Dialer, country: str, upstream: Upstream | None, echo_url: str | None
) -> ExitCheck:
    way = "direct" if upstream is None else upstream.name
    loop = asyncio.get_running_loop()
    started = loop.time()
    end: SiteEnd | None = None
    address = None
    try:
        if echo_url is not None:
            parts = urlsplit(echo_url)
            host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
            if upstream is None:
                end = await dialer.dial(host, port, route="direct")
            else:
                end = await upstreams.attempt(upstream, host, port, session=session_of("check"))
        elif upstream is not None:
            await upstreams.verify(upstream)
        else:
            return ExitCheck(country, way)  # nothing to dial
        milliseconds = round((loop.time() - started) * 1000)
        if end is not None and echo_url is not None:
            address = await _exit_address(end, echo_url, upstreams)
    except (TunnelError, DialError, EchoFailed) as error:
        return ExitCheck(country, way, problem=str(error))
    finally:
        if end is not None:
            end.close()
    return ExitCheck(country, way, milliseconds=milliseconds, address=address)


async def _exit_address(end: SiteEnd, url: str, upstreams: Upstreams) -> str:
    """The first IP address in the answer to GET `url`. Raises EchoFailed."""
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.netloc.rpartition("@")[2]
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(ECHO_SECONDS):
            if parts.scheme == "https":
                await end.start_tls(upstreams.certificates(), parts.hostname or "")
            end.write(request.encode())
            answer = await end.read_to_end(limit=MAX_ECHO)
    except (OSError, TimeoutError, EOFError) as error:
        raise EchoFailed(f"the echo service fails: {str(error) or type(error).__name__}") from error
    head, _, body = answer.decode(errors="replace").partition("\r\n\r\n")
    if not re.match(r"HTTP/1\.[01] 200\b", head):
        raise EchoFailed(f"the echo service answers {head.partition(chr(13))[0][:60]!r}")
    for word in re.findall(r"[0-9A-Fa-f:.]{3,45}", body):
        if (address := parse_address(word.strip("."))) is not None:
            return str(address)
    raise EchoFailed("the echo service answers without an IP address")
