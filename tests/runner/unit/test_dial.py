"""Dialing under the address policy, direct and through upstreams: real sockets on loopback, a resolver of our own."""

from __future__ import annotations

import asyncio
import json
import select
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address

import pytest

from addresses.egress import parse_countries
from addresses.policy import Address, parse_allow_list
from runner.egress import connect, dial
from runner.egress.connect import DialError, Refusal, SiteEnd
from runner.egress.dial import Dialer
from runner.egress.upstreams import Route, Upstreams
from tests.fakes.upstream_proxy import Kind, UpstreamProxy
from tests.patience import PATIENCE

LOOPBACK = parse_allow_list("127.0.0.1,127.0.0.2")


class Names:
    """A resolver that counts."""

    def __init__(self, **answers: list[str]) -> None:
        self.answers = {name.replace("_", "."): [ip_address(a) for a in found] for name, found in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str) -> list[Address]:
        self.asked.append(host)
        if host not in self.answers:
            raise DialError(Refusal.NAME, host)
        return self.answers[host]


@asynccontextmanager
async def site(host: str = "127.0.0.1") -> AsyncIterator[int]:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"site")
        writer.close()

    server = await asyncio.start_server(greet, host, 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def heard(end: SiteEnd) -> bytes:
    """The first bytes that the site sends."""
    try:
        return await asyncio.wait_for(end.read_exactly(4), PATIENCE)
    finally:
        end.close()


async def refusal(dialer: Dialer, host: str, port: int = 80, route: Route = "direct") -> Refusal:
    with pytest.raises(DialError) as caught:
        (await dialer.dial(host, port, route=route)).close()
    return caught.value.refusal


@pytest.mark.parametrize(
    "answers",
    [
        ["127.0.0.1"],
        ["10.0.0.1", "192.168.1.1"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["fd00::1", "0.0.0.0"],
    ],
)
async def test_a_name_that_resolves_to_inner_addresses_is_refused(answers: list[str]) -> None:
    assert await refusal(Dialer((), resolver=Names(evil_example=answers)), "evil.example") is Refusal.POLICY


async def test_of_a_mixed_answer_only_what_is_permitted_is_dialed() -> None:
    async with site() as port:
        names = Names(mixed_example=["10.0.0.1", "::1", "127.0.0.1", "169.254.169.254"])

        assert (
            await heard(await Dialer(LOOPBACK, resolver=names).dial("mixed.example", port, route="direct")) == b"site"
        )


async def test_a_name_is_resolved_once_so_that_it_cannot_change_between_check_and_use() -> None:
    async with site() as port:
        names = Names(rebind_example=["127.0.0.1"])

        (await Dialer(LOOPBACK, resolver=names).dial("rebind.example", port, route="direct")).close()

        assert names.asked == ["rebind.example"]


async def test_an_address_is_not_resolved_at_all() -> None:
    names = Names()

    assert await refusal(Dialer((), resolver=names), "127.0.0.1") is Refusal.POLICY
    assert await refusal(Dialer((), resolver=names), "[::1%lo]") is Refusal.POLICY
    assert names.asked == []


async def test_the_next_address_is_tried_when_one_is_refused() -> None:
    async with site("127.0.0.1") as port:
        names = Names(two_example=["127.0.0.2", "127.0.0.1"])

        assert await heard(await Dialer(LOOPBACK, resolver=names).dial("two.example", port, route="direct")) == b"site"


async def test_a_name_without_an_address_and_an_unknown_name_are_not_resolved() -> None:
    names = Names(empty_example=[])

    assert await refusal(Dialer((), resolver=names), "empty.example") is Refusal.NAME
    assert await refusal(Dialer((), resolver=names), "unknown.example") is Refusal.NAME


@pytest.mark.parametrize("name", ["no-such-name.invalid", "", "a..b", "\x00", "x" * 300, "\udcff", "a b"])
async def test_the_systems_resolver_answers_for_every_name(name: str) -> None:
    assert await refusal(Dialer(()), name) is Refusal.NAME


async def test_a_closed_port_is_refused() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))

        assert await refusal(Dialer(LOOPBACK), "127.0.0.1", closed.getsockname()[1]) is Refusal.REFUSED


async def test_a_server_that_does_not_answer_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "CONNECT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        crowd = [socket.socket() for _ in range(4)]
        for sock in crowd:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        assert select.select([], crowd, [], PATIENCE)[1]  # the backlog is full now, and the kernel drops what comes

        assert await refusal(Dialer(LOOPBACK), "127.0.0.1", port) is Refusal.TIMEOUT
        for sock in crowd:
            sock.close()


async def test_a_public_address_of_this_very_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """127.0.0.1 plays the public address: the policy would let it pass, only the socket shows whose it is."""
    monkeypatch.setattr(dial, "is_permitted", lambda address, port, allow: True)
    async with site() as port:
        assert await refusal(Dialer(()), "127.0.0.1", port) is Refusal.POLICY


class Exits(Upstreams):
    """One country, whose proxy is `proxy`."""

    def __init__(self, proxy: UpstreamProxy) -> None:
        super().__init__(parse_countries(json.dumps({"de": proxy.url})))

    @property
    def way(self) -> Route:
        return self.route("de", token="agt_1")


KINDS: list[Kind] = ["http", "socks5"]


@pytest.mark.parametrize("kind", KINDS)
async def test_through_an_upstream_no_name_is_resolved_here(kind: Kind) -> None:
    async with site() as port, UpstreamProxy(kind) as proxy:
        proxy.destination = ("127.0.0.1", port)
        names = Names()

        end = await Dialer((), resolver=names).dial("far.example", 443, route=Exits(proxy).way)

        assert await heard(end) == b"site"
        assert proxy.asked == ["far.example:443"]
        assert names.asked == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("host", "asked"),
    [
        ("1.1.1.1", "1.1.1.1:443"),
        ("2606:4700::1111", "[2606:4700::1111]:443"),
        ("[2606:4700::1111]", "[2606:4700::1111]:443"),
        ("::ffff:1.1.1.1", "1.1.1.1:443"),
        ("127.0.0.1", "127.0.0.1:443"),  # the operator permits it
        ("A.Example", "A.Example:443"),
        ("xn--bcher-kva.example.", "xn--bcher-kva.example.:443"),
        ("my_host.example", "my_host.example:443"),
    ],
)
async def test_an_upstream_is_asked_for_public_addresses_and_names(kind: Kind, host: str, asked: str) -> None:
    async with site() as port, UpstreamProxy(kind) as proxy:
        proxy.destination = ("127.0.0.1", port)

        end = await Dialer(LOOPBACK, resolver=Names()).dial(host, 443, route=Exits(proxy).way)

        assert await heard(end) == b"site"
        assert proxy.asked == [asked]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("169.254.169.254", Refusal.POLICY),
        ("10.0.0.1", Refusal.POLICY),
        ("127.0.0.3", Refusal.POLICY),
        ("::1", Refusal.POLICY),
        ("::ffff:10.0.0.1", Refusal.POLICY),
        ("64:ff9b::7f00:1", Refusal.POLICY),
        ("fd00::1", Refusal.POLICY),
        ("localhost", Refusal.POLICY),
        ("LOCALHOST.", Refusal.POLICY),
        ("a.localhost", Refusal.POLICY),
        ("metadata", Refusal.POLICY),
        ("metadata.google.internal", Refusal.POLICY),
        ("printer.local", Refusal.POLICY),
        ("router.home.arpa", Refusal.POLICY),
        ("nas.lan.", Refusal.POLICY),
        ("127.1", Refusal.NAME),
        ("2130706433", Refusal.NAME),
        ("0x7f.0.0.0x1", Refusal.NAME),
        ("1.2.3.4.", Refusal.NAME),
        ("", Refusal.NAME),
        (".", Refusal.NAME),
        ("a..example", Refusal.NAME),
        ("a.example:80", Refusal.NAME),
        ("a.example\r\nHost: b", Refusal.NAME),
        ("a b.example", Refusal.NAME),
        ("me@a.example", Refusal.NAME),
        ("a.example/", Refusal.NAME),
        ("b\u00fccher.example", Refusal.NAME),
        ("x" * 64 + ".example", Refusal.NAME),
        ("x." * 127 + "example", Refusal.NAME),
    ],
)
async def test_what_is_not_public_is_refused_before_the_upstream_is_asked(kind: Kind, host: str, why: Refusal) -> None:
    async with UpstreamProxy(kind) as proxy:
        assert await refusal(Dialer(LOOPBACK, resolver=Names()), host, route=Exits(proxy).way) is why
        assert proxy.connections == 0


async def test_when_no_upstream_works_the_site_is_not_dialed_directly() -> None:
    async with site() as port, UpstreamProxy("http") as proxy:
        exits = Exits(proxy)
        await proxy.down()
        names = Names(far_example=["127.0.0.1"])

        for _ in range(2):
            assert await refusal(Dialer(LOOPBACK, resolver=names), "127.0.0.1", port, exits.way) is Refusal.UPSTREAM
            assert await refusal(Dialer(LOOPBACK, resolver=names), "far.example", port, exits.way) is Refusal.UPSTREAM
        assert names.asked == []
        exits.close()
