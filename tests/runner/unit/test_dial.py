"""Dialing: names, policy and upstream proxies, with real sockets on loopback and a resolver of our own."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address

import pytest

from addresses.policy import Address, parse_allow_list
from runner.egress import dial
from runner.egress.dial import Dialer, DialError, Refusal
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


async def heard(sock: socket.socket) -> bytes:
    with sock:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 100), PATIENCE)


async def refusal(dialer: Dialer, host: str, port: int = 80, route: str = "direct") -> Refusal:
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


async def test_a_port_that_nobody_listens_on_is_refused() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))

        assert await refusal(Dialer(LOOPBACK), "127.0.0.1", closed.getsockname()[1]) is Refusal.REFUSED


async def test_a_server_that_does_not_answer_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "CONNECT_SECONDS", 0.05)
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


@pytest.mark.parametrize("kind", ["http", "socks5"])
@pytest.mark.parametrize("login", [None, ("me", "s3cret"), ("m:e", "p@ss/word")])
async def test_a_countrys_proxy_carries_the_connection(kind: Kind, login: tuple[str, str] | None) -> None:
    from urllib.parse import quote

    async with site() as port, UpstreamProxy(kind) as proxy:
        prefix = ""
        if login is not None and not (kind == "http" and ":" in login[0]):
            proxy.user, proxy.password = login
            prefix = f"{quote(login[0], safe='')}:{quote(login[1], safe='')}@"
        names = Names(far_example=["127.0.0.1"])

        sock = await Dialer(LOOPBACK, resolver=names).dial(
            "far.example", port, route=f"{kind}://{prefix}127.0.0.1:{proxy.port}"
        )

        assert await heard(sock) == b"site"
        assert proxy.asked == [f"127.0.0.1:{port}"]  # the address, not the name


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_a_proxy_is_asked_for_ipv6_in_its_own_way(kind: Kind) -> None:
    async with site() as port, UpstreamProxy(kind) as proxy:
        proxy.destination = ("127.0.0.1", port)

        sock = await Dialer(()).dial("2606:4700::1111", 443, route=proxy.url)

        assert await heard(sock) == b"site"
        assert proxy.asked == ["[2606:4700::1111]:443"]


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_through_a_proxy_inner_addresses_are_refused_too(kind: Kind) -> None:
    async with UpstreamProxy(kind) as proxy:
        dialer = Dialer((), resolver=Names(evil_example=["10.0.0.1"]))

        assert await refusal(dialer, "169.254.169.254", route=proxy.url) is Refusal.POLICY
        assert await refusal(dialer, "evil.example", route=proxy.url) is Refusal.POLICY
        assert proxy.asked == []


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_a_proxy_that_does_not_know_us_fails_as_the_proxy(kind: Kind) -> None:
    async with UpstreamProxy(kind, user="me", password="right") as proxy:
        for login in ("", "me:wrong@"):
            route = f"{kind}://{login}127.0.0.1:{proxy.port}"

            assert await refusal(Dialer(()), "1.1.1.1", route=route) is Refusal.UPSTREAM


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("http", b"HTTP/1.1 502 Bad Gateway\r\n\r\n"),
        ("http", b"HTTP/1.1 200"),
        ("http", b"nonsense\r\n\r\n"),
        ("http", b"\r\n\r\n"),
        ("http", b"x" * 40_000),
        ("http", b""),
        ("socks5", b"\x05\x05\x00\x01" + b"\0" * 6),
        ("socks5", b"\x05\x00\x00"),
        ("socks5", b""),
    ],
)
async def test_whatever_else_a_proxy_answers_is_the_proxys_failure(kind: Kind, answer: bytes) -> None:
    async with UpstreamProxy(kind) as proxy:
        proxy.answer = answer

        assert await refusal(Dialer(()), "1.1.1.1", route=proxy.url) is Refusal.UPSTREAM


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_a_silent_proxy_is_given_up(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "CONNECT_SECONDS", 0.2)
    async with UpstreamProxy(kind) as proxy:
        proxy.silent = True

        assert await refusal(Dialer(()), "1.1.1.1", route=proxy.url) is Refusal.UPSTREAM


@pytest.mark.parametrize("kind", ["http", "socks5"])
@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-proxy.invalid"])
async def test_a_proxy_that_is_not_there_fails_as_the_proxy(kind: Kind, host: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        route = f"{kind}://{host}:{closed.getsockname()[1]}"

        assert await refusal(Dialer(()), "1.1.1.1", route=route) is Refusal.UPSTREAM


@pytest.mark.parametrize("reply", [b"\x05\x00\x00\x03\x09localhost\x00\x50", b"\x05\x00\x00\x04" + b"\0" * 18])
async def test_a_proxys_own_address_in_its_reply_is_skipped_whatever_its_kind(reply: bytes) -> None:
    async with UpstreamProxy("socks5") as proxy:
        proxy.answer = reply + b"after"

        assert await heard(await Dialer(()).dial("1.1.1.1", 80, route=proxy.url)) == b"after"
