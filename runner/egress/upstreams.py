"""Which upstream proxy of a country a connection takes, and which of them work.

`ranked` and `choose` decide: each identity has its own order of a country's upstreams, and takes the first one that
does not rest. So it keeps its exit while that works, the others share the load of a failed one, and it returns when its
own works again. `Upstreams` learns from real connections what works. It probes a proxy only when it has started, when
the proxy is suspected or has rested; a probe ends at the proxy.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from addresses.egress import SESSION_LENGTH, Countries, Upstream
from runner.egress.connect import DialError, Refusal, SiteEnd
from runner.egress.tunnels import PROBE_SECONDS, Fault, SilentTunnel, SiteFailed, UpstreamFailed, open_tunnel, probe
from runner.wire import CountryEgress

log = logging.getLogger("browsa.runner.egress")

REST_SECONDS = 5.0
MAX_REST_SECONDS = 120.0
SUSPECT_SECONDS = 3.0
MAX_ATTEMPTS = 3  # upstreams that one connection tries


@dataclass(frozen=True, slots=True)
class UpstreamHealth:
    """An upstream that failed: it rests `until` (of the event loop's clock), then it is on trial.

    `rests` are the rests since it worked last. A working upstream has no `UpstreamHealth`.
    """

    fault: Fault
    rests: int
    until: float

    def is_resting(self, now: float) -> bool:
        return now < self.until


def after_failure(health: UpstreamHealth | None, fault: Fault, *, now: float) -> UpstreamHealth:
    """The next state. Each rest is twice as long as the one before it."""
    if health is not None and health.is_resting(now):  # a connection that began before the rest
        return replace(health, fault=fault)
    rests = health.rests if health is not None else 0
    return UpstreamHealth(fault, rests + 1, now + min(MAX_REST_SECONDS, REST_SECONDS * 2.0 ** min(rests, 10)))


def ranked(upstreams: tuple[Upstream, ...], token: str) -> tuple[Upstream, ...]:
    """The order in which the identity `token` prefers `upstreams`: rendezvous hashing (Thaler and Ravishankar, 1998).

    The order of two upstreams does not depend on the others or on their passwords, so a change of the table moves only
    the identities of the changed upstreams.
    """

    def score(upstream: Upstream) -> bytes:
        key = f"{upstream.name}\0{upstream.username or ''}\0{token}"
        return hashlib.blake2b(key.encode(), digest_size=16).digest()

    return tuple(sorted(upstreams, key=score))


def choose(order: tuple[Upstream, ...], health: Mapping[Upstream, UpstreamHealth], now: float) -> Upstream | None:
    """The first upstream of `order` that does not rest; None when all rest."""
    for upstream in order:
        state = health.get(upstream)
        if state is None or not state.is_resting(now):
            return upstream
    return None


def session_of(token: str) -> str:
    """What takes the place of `{session}` in credentials: letters and digits that do not reveal `token`."""
    return hashlib.blake2b(token.encode(), digest_size=SESSION_LENGTH // 2, person=b"browsa-session").hexdigest()


class NoUpstream(Exception):
    """Every upstream proxy of the country rests."""

    def __init__(self, country: str) -> None:
        super().__init__(f"no upstream proxy of country {country} works")
        self.country = country


@dataclass(frozen=True, slots=True)
class UpstreamRoute:
    """The way out of one identity: the upstreams of its country in its own order, and its session with them."""

    upstreams: Upstreams
    country: str
    order: tuple[Upstream, ...]
    session: str

    async def open(self, host: str, port: int) -> SiteEnd:
        """A tunnel to `host` through the first upstream that works. Raises DialError."""
        return await self.upstreams.open(self, host, port)


Route = Literal["direct"] | UpstreamRoute


class Upstreams:
    """The upstream proxies of all countries and their health. `certificates` verify https proxies; the default trusts
    the same authorities as the API's own requests: httpcore's, and those of `SSL_CERT_FILE`.
    """

    def __init__(self, countries: Countries, *, certificates: ssl.SSLContext | None = None) -> None:
        self.countries = countries
        self._health: dict[Upstream, UpstreamHealth] = {}
        self._probes: dict[Upstream, asyncio.Task[None]] = {}
        self._timers: dict[Upstream, asyncio.TimerHandle] = {}
        self._trusted = certificates

    def start(self) -> None:
        """Probe each upstream once: what is down at the start is known before a browser needs it."""
        for members in self.countries.values():
            for upstream in () if isinstance(members, str) else members:
                self._probe(upstream)

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        for task in self._probes.values():
            task.cancel()

    def require(self, country: str) -> None:
        """Raises NoUpstream when every upstream of the country rests."""
        members = self.countries[country]
        if not isinstance(members, str) and choose(members, self._health, self._now()) is None:
            raise NoUpstream(country)

    def route(self, country: str, *, token: str) -> Route:
        """The way out of the identity `token`."""
        members = self.countries[country]
        if isinstance(members, str):
            return members
        return UpstreamRoute(self, country, ranked(members, token), session_of(token))

    async def open(self, route: UpstreamRoute, host: str, port: int) -> SiteEnd:
        """See `UpstreamRoute.open`."""
        for _ in range(MAX_ATTEMPTS):
            upstream = choose(route.order, self._health, self._now())
            if upstream is None:
                break
            try:
                return await self.attempt(upstream, host, port, session=route.session)
            except UpstreamFailed:
                continue
            except SilentTunnel as error:
                raise DialError(Refusal.TUNNEL, f"{route.country}: {error}") from error
            except SiteFailed as error:
                raise DialError(error.refusal, f"{route.country}: {error}") from error
        raise DialError(Refusal.UPSTREAM, route.country)

    async def attempt(self, upstream: Upstream, host: str, port: int, *, session: str) -> SiteEnd:
        """A tunnel to `host` through this upstream, whose health is noted. Raises TunnelError."""
        started = self._now()
        try:
            end = await open_tunnel(upstream, host, port, session=session, tls=self._tls(upstream))
        except UpstreamFailed as error:
            self._failed(upstream, error)
            raise
        except SilentTunnel as error:
            self._suspect(upstream, error)
            raise
        except SiteFailed:
            self._works(upstream)
            raise
        except asyncio.CancelledError:
            if self._now() - started >= SUSPECT_SECONDS:  # the browser did not wait until the proxy was given up
                self._probe(upstream, suspected=True)
            raise
        self._works(upstream)
        return end

    async def verify(self, upstream: Upstream) -> None:
        """Probe this upstream. Raises UpstreamFailed."""
        try:
            await probe(upstream, session=session_of("probe"), tls=self._tls(upstream))
        except UpstreamFailed as error:
            self._failed(upstream, error)
            raise
        self._works(upstream)

    def states(self) -> list[CountryEgress]:
        """The health of each country that has upstreams."""
        now = self._now()
        found = []
        for country, members in self.countries.items():
            if isinstance(members, str):
                continue
            resting = {one: health for one in members if (health := self._health.get(one)) and health.is_resting(now)}
            faults = [f"{upstream.name}: {health.fault.value}" for upstream, health in resting.items()]
            found.append(CountryEgress(country, len(members), len(members) - len(resting), faults))
        return found

    def _works(self, upstream: Upstream) -> None:
        if self._health and self._health.pop(upstream, None) is not None:
            log.info("the upstream proxy %s works again", upstream.name)

    def _failed(self, upstream: Upstream, error: UpstreamFailed) -> None:
        now = self._now()
        before = self._health.get(upstream)
        self._health[upstream] = health = after_failure(before, error.fault, now=now)
        if before is None or health.rests > before.rests:
            rest = health.until - now
            log.warning("the upstream proxy %s rests %.0f s: %s", upstream.name, rest, error)
            self._timers[upstream] = asyncio.get_running_loop().call_later(rest, self._probe, upstream)

    def _suspect(self, upstream: Upstream, error: SilentTunnel) -> None:
        """Silence can be the site's fault, so a probe decides. On trial the upstream rests again."""
        if upstream in self._health:
            self._failed(upstream, UpstreamFailed(Fault.SILENT, str(error)))
        else:
            self._probe(upstream, suspected=True)

    def _probe(self, upstream: Upstream, *, suspected: bool = False) -> None:
        self._timers.pop(upstream, None)
        if upstream not in self._probes:
            task = asyncio.get_running_loop().create_task(self._run_probe(upstream, suspected), name="egress-probe")
            self._probes[upstream] = task
            task.add_done_callback(lambda _task: self._probes.pop(upstream, None))

    async def _run_probe(self, upstream: Upstream, suspected: bool) -> None:
        """An upstream whose rest is over rests on until its probe has ended.

        Some http proxies do not answer for a name that does not exist. So a silent probe is a failure only of a
        suspected upstream; after a rest the next connection decides.
        """
        if (health := self._health.get(upstream)) is not None:
            self._health[upstream] = replace(health, until=self._now() + PROBE_SECONDS)
        try:
            await probe(upstream, session=session_of("probe"), tls=self._tls(upstream))
        except UpstreamFailed as error:
            if (health := self._health.get(upstream)) is not None:
                self._health[upstream] = replace(health, until=self._now())
            if suspected or error.fault is not Fault.SILENT:
                self._failed(upstream, error)
        else:
            self._works(upstream)

    def certificates(self) -> ssl.SSLContext:
        """What verifies https proxies and https echo services."""
        if self._trusted is None:
            import httpcore  # here, because few runners need it

            self._trusted = httpcore.default_ssl_context()
        return self._trusted

    def _tls(self, upstream: Upstream) -> ssl.SSLContext | None:
        return self.certificates() if upstream.scheme == "https" else None

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
