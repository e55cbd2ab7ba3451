"""Which upstream an identity takes: the decisions as tables, then real proxies on loopback that fail and come back."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest

from addresses.egress import Upstream, parse_countries
from runner.egress import tunnels, upstreams
from runner.egress.connect import DialError, Refusal
from runner.egress.tunnels import Fault
from runner.egress.upstreams import (
    NoUpstream,
    UpstreamHealth,
    UpstreamRoute,
    Upstreams,
    after_failure,
    choose,
    ranked,
    session_of,
)
from runner.wire import CountryEgress
from tests.fakes.upstream_proxy import UpstreamProxy
from tests.patience import PATIENCE

A, B, C = (Upstream("http", name, 3128, "user", "secret") for name in "abc")
RESTS, TRIAL = UpstreamHealth(Fault.REFUSED, 1, until=110.0), UpstreamHealth(Fault.REFUSED, 1, until=100.0)


@pytest.mark.parametrize(
    ("order", "health", "chosen"),
    [
        ((A,), {}, A),
        ((A, B, C), {}, A),
        ((C, A, B), {}, C),
        ((A, B, C), {A: RESTS}, B),
        ((A, B, C), {A: RESTS, B: RESTS}, C),
        ((A, B, C), {B: RESTS}, A),
        ((A, B, C), {A: TRIAL}, A),  # its rest is over: it gets its identities back, on trial
        ((A, B, C), {A: RESTS, B: TRIAL}, B),
        ((A, B, C), {A: RESTS, B: RESTS, C: RESTS}, None),
        ((A,), {A: RESTS}, None),
        ((A,), {B: RESTS}, A),
        ((), {}, None),
    ],
)
def test_the_first_upstream_that_does_not_rest_is_chosen(
    order: tuple[Upstream, ...], health: dict[Upstream, UpstreamHealth], chosen: Upstream | None
) -> None:
    assert choose(order, health, 100.0) == chosen


@pytest.mark.parametrize(
    ("before", "now", "after"),
    [
        (None, 100.0, UpstreamHealth(Fault.AUTH, 1, 105.0)),
        (UpstreamHealth(Fault.REFUSED, 1, 105.0), 105.0, UpstreamHealth(Fault.AUTH, 2, 115.0)),
        (UpstreamHealth(Fault.REFUSED, 2, 115.0), 200.0, UpstreamHealth(Fault.AUTH, 3, 220.0)),
        (UpstreamHealth(Fault.REFUSED, 5, 0.0), 100.0, UpstreamHealth(Fault.AUTH, 6, 220.0)),
        (UpstreamHealth(Fault.REFUSED, 5000, 0.0), 100.0, UpstreamHealth(Fault.AUTH, 5001, 220.0)),
        # A connection that began before the rest fails during it: the rest stays as it is.
        (UpstreamHealth(Fault.REFUSED, 1, 105.0), 104.0, UpstreamHealth(Fault.AUTH, 1, 105.0)),
    ],
)
def test_each_rest_is_twice_as_long_as_the_one_before_up_to_two_minutes(
    before: UpstreamHealth | None, now: float, after: UpstreamHealth
) -> None:
    assert after_failure(before, Fault.AUTH, now=now) == after


def test_identities_spread_evenly_and_each_keeps_its_order() -> None:
    orders = {token: ranked((A, B, C), token) for token in (f"agt_{n}" for n in range(3000))}

    shares = Counter(order[0] for order in orders.values())
    assert all(900 < shares[upstream] < 1100 for upstream in (A, B, C))
    assert all(ranked((C, B, A), token) == order for token, order in orders.items())
    # Those of a failed upstream spread over the others, too.
    left = Counter(order[1] for order in orders.values() if order[0] == A)
    assert all(400 < left[upstream] < 600 for upstream in (B, C))


def test_a_changed_table_moves_only_the_identities_of_what_was_changed() -> None:
    for token in (f"agt_{n}" for n in range(300)):
        before, after = ranked((A, B, C), token), ranked((A, B), token)

        assert after == tuple(upstream for upstream in before if upstream != C)


def test_a_new_password_moves_no_identity() -> None:
    changed = Upstream("http", "a", 3128, "user", "a new secret")
    for token in (f"agt_{n}" for n in range(300)):
        assert ranked((A, B), token).index(A) == ranked((changed, B), token).index(changed)


def test_upstreams_of_one_host_with_different_users_are_different() -> None:
    first, second = (Upstream("http", "a", 3128, f"user-{n}", "secret") for n in range(2))

    assert {ranked((first, second), f"agt_{n}")[0] for n in range(50)} == {first, second}


def test_a_session_is_a_stable_word_that_does_not_reveal_the_identity() -> None:
    assert session_of("agt_1") == session_of("agt_1") != session_of("agt_2")
    assert session_of("agt_1") == "fb9eb76b12696b61"  # of every runner, and after an upgrade
    assert len({session_of(f"agt_{n}") for n in range(1000)}) == 1000
    assert session_of("agt_1").isalnum() and "agt" not in session_of("agt_1")


# From here on with real proxies.


@pytest.fixture
def short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstreams, "REST_SECONDS", 0.05)
    monkeypatch.setattr(upstreams, "MAX_REST_SECONDS", 0.1)


@pytest.fixture
async def site() -> AsyncIterator[tuple[str, int]]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(4))
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()
    server.close()


@pytest.fixture
async def proxies(site: tuple[str, int]) -> AsyncIterator[list[UpstreamProxy]]:
    async with UpstreamProxy("http", user="*") as one, UpstreamProxy("socks5", user="*") as two:
        one.destination = two.destination = site
        yield [one, two]


@pytest.fixture
async def country(proxies: list[UpstreamProxy], short_rests: None) -> AsyncIterator[Upstreams]:
    urls = [proxy.url_with("user-session-{session}:pw") for proxy in proxies]
    made = Upstreams(parse_countries(json.dumps({"us": "direct", "de": urls})))
    yield made
    made.close()


def route(country: Upstreams, token: str) -> UpstreamRoute:
    made = country.route("de", token=token)
    assert isinstance(made, UpstreamRoute)
    return made


async def reaches(way: UpstreamRoute) -> None:
    end = await way.open("far.example", 443)
    try:
        assert end.transport is not None
        end.transport.write(b"ping")
        assert await asyncio.wait_for(end.read_exactly(4), PATIENCE) == b"ping"
    finally:
        end.close()


async def refusal(way: UpstreamRoute) -> Refusal:
    with pytest.raises(DialError) as caught:
        (await way.open("far.example", 443)).close()
    return caught.value.refusal


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


def first_of(country: Upstreams, proxies: list[UpstreamProxy], token: str) -> tuple[UpstreamProxy, UpstreamProxy]:
    """The proxy that the identity prefers, and the other one."""
    port = route(country, token).order[0].port
    one, two = proxies
    return (one, two) if one.port == port else (two, one)


async def test_an_identity_keeps_its_exit_and_its_session(country: Upstreams, proxies: list[UpstreamProxy]) -> None:
    mine, other = first_of(country, proxies, "agt_1")

    for _ in range(5):
        await reaches(route(country, "agt_1"))

    assert mine.asked == ["far.example:443"] * 5
    assert set(mine.logins) == {(f"user-session-{session_of('agt_1')}", "pw")}
    assert other.asked == []


async def test_identities_have_sessions_of_their_own(country: Upstreams, proxies: list[UpstreamProxy]) -> None:
    for number in range(20):
        await reaches(route(country, f"agt_{number}"))

    logins = [*proxies[0].logins, *proxies[1].logins]
    assert len(set(logins)) == 20
    assert proxies[0].logins and proxies[1].logins


async def test_a_failed_upstream_is_left_for_another_one_of_the_country_until_it_works_again(
    country: Upstreams, proxies: list[UpstreamProxy]
) -> None:
    mine, other = first_of(country, proxies, "agt_1")
    way = route(country, "agt_1")
    await mine.down()

    await reaches(way)  # within the same connection

    assert other.asked == ["far.example:443"]
    assert country.states()[0].healthy == 1
    assert country.states()[0].faults == [f"{way.order[0].name}: it refuses connections"]
    await mine.up()
    await until(lambda: country.states()[0].healthy == 2)
    assert {*mine.asked} <= {"browsa-probe.invalid:443"}  # a probe ends at the proxy
    await reaches(way)
    assert {*mine.asked} - {"browsa-probe.invalid:443"} == {"far.example:443"}
    assert other.asked == ["far.example:443"]


async def test_when_no_upstream_works_nothing_is_reached_and_the_country_is_named(
    country: Upstreams, proxies: list[UpstreamProxy]
) -> None:
    way = route(country, "agt_1")
    for proxy in proxies:
        await proxy.down()

    assert await refusal(way) is Refusal.UPSTREAM

    with pytest.raises(NoUpstream, match="country de"):
        country.require("de")
    country.require("us")
    assert country.states() == [
        CountryEgress("de", 2, 0, [f"{one.name}: it refuses connections" for one in country.countries["de"]])  # type: ignore[union-attr]
    ]
    for proxy in proxies:
        await proxy.up()
    await until(lambda: country.states()[0].healthy == 2)
    country.require("de")
    await reaches(way)


async def test_what_is_down_at_the_start_is_known_before_a_browser_needs_it(
    country: Upstreams, proxies: list[UpstreamProxy]
) -> None:
    await proxies[0].down()

    country.start()

    await until(lambda: country.states()[0].healthy == 1)
    await until(lambda: proxies[1].connections == 1)
    assert proxies[1].asked == []  # of a socks5 proxy, only the login is checked


async def test_a_site_that_a_proxy_does_not_reach_says_nothing_about_the_proxy(
    country: Upstreams, proxies: list[UpstreamProxy]
) -> None:
    for number in range(20):
        with pytest.raises(DialError):
            await route(country, f"agt_{number}").open("nowhere.invalid", 443)

    assert country.states() == [CountryEgress("de", 2, 2, [])]


@pytest.mark.usefixtures("short_rests")
@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_silence_about_a_site_is_not_held_against_a_proxy_that_answers_a_probe(
    site: tuple[str, int], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnels, "ANSWER_SECONDS", 0.05)
    async with UpstreamProxy(kind) as proxy:  # type: ignore[arg-type]
        proxy.stuck = True
        country = Upstreams(parse_countries(json.dumps({"de": proxy.url})))

        assert await refusal(route(country, "agt_1")) is Refusal.TUNNEL

        await until(lambda: proxy.connections == 2)  # the probe
        await until(lambda: not country._probes)
        assert country.states() == [CountryEgress("de", 1, 1, [])]
        country.close()


@pytest.mark.usefixtures("short_rests")
async def test_a_proxy_that_is_silent_to_the_probe_too_rests_and_is_tried_again(
    site: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnels, "ANSWER_SECONDS", 0.05)
    async with UpstreamProxy("http") as proxy:
        proxy.destination = site
        proxy.silent = True
        country = Upstreams(parse_countries(json.dumps({"de": proxy.url})))

        assert await refusal(route(country, "agt_1")) is Refusal.TUNNEL

        await until(lambda: country.states()[0].healthy == 0)
        assert country.states()[0].faults == [f"{proxy.url}: it accepts connections but does not answer"]
        await until(lambda: country.states()[0].healthy == 1)  # on trial
        assert await refusal(route(country, "agt_1")) is Refusal.TUNNEL
        assert country.states()[0].healthy == 0  # without another probe
        proxy.silent = False
        await until(lambda: country.states()[0].healthy == 1)
        await reaches(route(country, "agt_1"))
        country.close()


@pytest.mark.usefixtures("short_rests")
async def test_a_silent_proxy_is_found_out_when_browsers_give_up_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstreams, "SUSPECT_SECONDS", 0.0)
    async with UpstreamProxy("http") as proxy:
        proxy.silent = True
        country = Upstreams(parse_countries(json.dumps({"de": proxy.url})))
        waiting = asyncio.ensure_future(route(country, "agt_1").open("far.example", 443))
        await until(lambda: proxy.connections == 1)
        monkeypatch.setattr(tunnels, "PROBE_SECONDS", 0.05)

        waiting.cancel()

        await until(lambda: country.states()[0].healthy == 0)
        country.close()


async def test_no_log_line_has_credentials(
    country: Upstreams, proxies: list[UpstreamProxy], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    for proxy in proxies:
        proxy.user = "other"

    assert await refusal(route(country, "agt_1")) is Refusal.UPSTREAM

    assert "it rejects the credentials" in caplog.text
    assert "pw" not in caplog.text and "session" not in caplog.text
