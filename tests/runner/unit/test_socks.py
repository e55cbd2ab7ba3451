"""The browser's way out: SOCKS parsing without I/O, then the real server with real sockets."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from addresses.policy import Address, parse_allow_list
from runner.egress import socks
from runner.egress.connect import DialError, Refusal
from runner.egress.dial import Dialer
from runner.egress.socks import BrowserEnd, IncompleteHandshake, MalformedHandshake, parse_greeting, parse_request
from runner.egress.upstreams import Route
from tests.patience import PATIENCE

LOOPBACK = parse_allow_list("127.0.0.1")


def connect_to(host: bytes, port: int = 80) -> bytes:
    return b"\x05\x01\x00\x03" + bytes([len(host)]) + host + port.to_bytes(2, "big")


def connect_to_ipv4(host: str, port: int) -> bytes:
    return b"\x05\x01\x00\x01" + socket.inet_aton(host) + port.to_bytes(2, "big")


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (connect_to(b"example.org", 443), ("example.org", 443, 18)),
        (connect_to_ipv4("1.2.3.4", 80), ("1.2.3.4", 80, 10)),
        (b"\x05\x01\x00\x04" + b"\0" * 15 + b"\x01\x00\x50", ("::1", 80, 22)),
        (connect_to(b"a") + b"GET", ("a", 80, 8)),
        (connect_to(b""), ("", 80, 7)),
    ],
)
def test_a_request_names_a_host_and_a_port(data: bytes, answer: tuple[str, int, int]) -> None:
    assert parse_request(data) == answer


@pytest.mark.parametrize("data", [connect_to(b"example.org"), connect_to_ipv4("1.2.3.4", 80)])
def test_a_request_that_has_not_arrived_whole_is_waited_for(data: bytes) -> None:
    for end in range(len(data)):
        with pytest.raises(IncompleteHandshake):
            parse_request(data[:end])


@pytest.mark.parametrize("methods", [b"\x00", b"\x00\x02", b"\x02\x00", bytes(range(255))])
def test_a_greeting_that_offers_no_authentication_is_taken(methods: bytes) -> None:
    data = bytes([5, len(methods)]) + methods

    assert parse_greeting(data + b"more") == len(data)
    for end in range(len(data)):
        with pytest.raises(IncompleteHandshake):
            parse_greeting(data[:end])


@pytest.mark.parametrize(
    "data", [b"\x04\x01\x00\x50", b"GET / HTTP/1.1\r\n", b"\x05\x01\x02", b"\x05\x00", b"\x16\x03"]
)
def test_another_greeting_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedHandshake):
        parse_greeting(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x05\x02\x00\x01" + b"\0" * 6,  # BIND
        b"\x05\x03\x00\x01" + b"\0" * 6,  # UDP ASSOCIATE: no datagram leaves a jail
        b"\x04\x01\x00\x01" + b"\0" * 6,
        b"\x05\x01\x00\x02" + b"\0" * 6,
    ],
)
def test_only_connect_to_a_known_kind_of_address_is_offered(data: bytes) -> None:
    with pytest.raises(MalformedHandshake):
        parse_request(data)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=700))
def test_garbage_is_incomplete_or_malformed_or_a_request_within_it(data: bytes) -> None:
    with suppress(IncompleteHandshake, MalformedHandshake):
        assert parse_greeting(data) <= len(data)
    try:
        host, port, end = parse_request(data)
    except (IncompleteHandshake, MalformedHandshake):
        return
    assert end <= len(data)
    assert 0 <= port <= 65535
    assert len(host) <= 255


# From here on with sockets.

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    """A TCP server on loopback; its port."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


@asynccontextmanager
async def proxy(dialer: Dialer | None = None, route: Route | None = "direct") -> AsyncIterator[int]:
    """The egress of a browser; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    server = await socks.serve(listener, dialer or Dialer(LOOPBACK), lambda: route)
    try:
        yield int(listener.getsockname()[1])
    finally:
        server.close()


def to_site(port: int) -> bytes:
    """The handshake of a browser that wants the site on that port."""
    return b"\x05\x01\x00" + connect_to_ipv4("127.0.0.1", port)


@asynccontextmanager
async def browser(port: int, data: bytes) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        yield reader, writer
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def answered(reader: asyncio.StreamReader) -> int:
    """The reply code to a request."""
    assert await asyncio.wait_for(reader.readexactly(2), PATIENCE) == b"\x05\x00"
    return (await asyncio.wait_for(reader.readexactly(10), PATIENCE))[1]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def nothing_open() -> None:
    """Wait until no egress connection of this process is left."""
    async with asyncio.timeout(PATIENCE):
        while any(end.transport is not None for end in browser_ends()):
            await asyncio.sleep(0.01)


def browser_ends() -> list[BrowserEnd]:
    # By its type: `isinstance` asks whatever a weak proxy stands for, which may be gone.
    return [o for o in gc.get_objects() if type(o) is BrowserEnd]


async def test_bytes_pass_both_ways_also_those_that_came_with_the_request() -> None:
    async with serving(echo) as site, proxy() as port:
        hello = to_site(site) + b"early"
        async with browser(port, hello) as (reader, writer):
            assert await answered(reader) == 0
            assert await reader.readexactly(5) == b"early"
            writer.write(b"x" * 3_000_000)
            assert len(await reader.readexactly(3_000_000)) == 3_000_000


async def test_a_request_may_arrive_byte_by_byte() -> None:
    async with serving(echo) as site, proxy() as port, browser(port, b"") as (reader, writer):
        for byte in b"\x05\x01\x00" + connect_to(b"127.0.0.1", site) + b"hi":
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert await answered(reader) == 0
        assert await reader.readexactly(2) == b"hi"


async def test_a_server_that_speaks_first_is_heard() -> None:
    async def banner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 welcome")
        await reader.read()

    async with serving(banner) as site, proxy() as port:
        for _ in range(20):
            async with browser(port, to_site(site)) as (reader, _writer):
                assert await answered(reader) == 0
                assert await asyncio.wait_for(reader.readexactly(11), PATIENCE) == b"220 welcome"


async def test_a_server_that_hangs_up_at_once_ends_the_browsers_connection() -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        return

    async with serving(rude) as site, proxy() as port:
        for _ in range(20):
            async with browser(port, to_site(site)) as (reader, _writer):
                await asyncio.wait_for(reader.read(), PATIENCE)
        await nothing_open()


@pytest.mark.parametrize("first", ["browser", "site"])
async def test_a_connection_that_both_ends_closed_is_gone(first: str) -> None:
    async def quick(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if first == "browser":
            assert await reader.read() == b"bye"

    async with serving(quick) as site, proxy() as port, browser(port, to_site(site)) as (reader, writer):
        assert await answered(reader) == 0
        if first == "browser":
            writer.write(b"bye")
            writer.write_eof()
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
    await nothing_open()


async def test_a_half_closed_connection_still_carries_the_answer() -> None:
    async def answer_at_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())

    async with serving(answer_at_the_end) as site, proxy() as port, browser(port, to_site(site)) as (reader, writer):
        assert await answered(reader) == 0
        writer.write(b"question")
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b"QUESTION"


@pytest.mark.parametrize(
    ("host", "reply"),
    [
        (b"127.0.0.2", 2),
        (b"169.254.169.254", 2),
        (b"10.0.0.1", 2),
        (b"[::1]", 2),
        (b"::ffff:127.0.0.2", 2),
        (b"2130706434", 2),
        (b"0x7f.2", 2),
        (b"localhost", 0),
        (b"no-such-name.invalid", 4),
        (b"", 4),
        (b"\xff\xfe", 4),
        (b"nul\0byte.invalid", 4),
        (b"." * 200, 4),
        (b"a" * 255, 4),
        (b"-", 4),
        (b"a b", 4),
    ],
)
async def test_a_refusal_has_the_code_that_tells_a_browser_why(host: bytes, reply: int) -> None:
    async with (
        serving(echo) as site,
        proxy() as port,
        browser(port, b"\x05\x01\x00" + connect_to(host, site)) as (reader, _writer),
    ):
        assert await answered(reader) == reply


@given(host=st.binary(max_size=255))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_name_leaves_a_browser_without_an_answer(host: bytes) -> None:
    async def scenario() -> int:
        async def unknown(name: str) -> list[Address]:
            raise DialError(Refusal.NAME, name)

        hello = b"\x05\x01\x00" + connect_to(host, 1)
        async with proxy(Dialer((), resolver=unknown)) as port, browser(port, hello) as (reader, _writer):
            return await answered(reader)

    assert asyncio.run(scenario()) in (2, 4)


async def test_a_browser_without_a_lease_reaches_nothing() -> None:
    async with serving(echo) as site, proxy(route=None) as port, browser(port, to_site(site)) as (reader, _writer):
        assert await answered(reader) == 2


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"\x05\x01\x00\x05\x03\x00\x01" + b"\0" * 6, b"\x05\x01\x02"]
)
async def test_another_protocol_is_hung_up_on(data: bytes) -> None:
    async with proxy() as port, browser(port, data) as (reader, _writer):
        assert await asyncio.wait_for(reader.read(), PATIENCE) in (b"", b"\x05\x00")


async def test_a_browser_that_leaves_while_we_dial_leaves_no_connection() -> None:
    dialing, resolved = asyncio.Event(), asyncio.Event()

    async def slow(name: str) -> list[Address]:
        dialing.set()
        await resolved.wait()
        return [ip_address("127.0.0.1")]

    async with serving(echo) as site, proxy(Dialer(LOOPBACK, resolver=slow)) as port:
        async with browser(port, b"\x05\x01\x00" + connect_to(b"slow.example", site)):
            await dialing.wait()
        resolved.set()
        await nothing_open()
