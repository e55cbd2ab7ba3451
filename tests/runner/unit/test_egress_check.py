"""What `check_egress` finds out, with real proxies and echo services on loopback."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import uvloop

from addresses.egress import parse_countries
from addresses.policy import parse_allow_list
from runner.egress.check import check_egress
from runner.egress.dial import Dialer
from runner.egress.upstreams import Upstreams
from runner.wire import ExitCheck
from tests.core.outgoing.certificates import signed_for
from tests.fakes.upstream_proxy import UpstreamProxy

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
LOOPBACK = parse_allow_list("127.0.0.1")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return signed_for("127.0.0.1", tmp_path_factory.mktemp("certificates"))


@asynccontextmanager
async def echo(answer: bytes, *, certificate: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """An echo service; its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"GET /ip?format=text HTTP/1.1\r\nHost: 127.0.0.1:")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=certificate)
    scheme = "https" if certificate else "http"
    try:
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/ip?format=text"
    finally:
        server.close()


async def checks(
    countries: dict[str, Any], echo_url: str | None = None, certificates: ssl.SSLContext | None = None
) -> list[ExitCheck]:
    upstreams = Upstreams(parse_countries(json.dumps(countries)), certificates=certificates)
    try:
        return (await check_egress(upstreams, Dialer(LOOPBACK), echo_url=echo_url)).checks
    finally:
        upstreams.close()


async def test_without_an_echo_service_each_proxy_is_dialed_and_nothing_behind_it() -> None:
    async with UpstreamProxy("http", user="me", password="pw") as http, UpstreamProxy("socks5") as socks:
        one, two, three = await checks({"us": "direct", "de": [http.url, socks.url]})

        assert one == ExitCheck("us", "direct")
        assert (two.country, two.way, two.problem, two.address) == ("de", f"http://127.0.0.1:{http.port}", "", None)
        assert (three.way, three.problem) == (socks.url, "")
        assert two.milliseconds is not None and three.milliseconds is not None
        assert http.asked == ["browsa-probe.invalid:443"]
        assert socks.asked == []


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    ("body", "address"),
    [
        (b"203.0.113.9\n", "203.0.113.9"),
        (b'{"country": "de", "ip": "2001:db8::7"}', "2001:db8::7"),
        (b"<p>Your address is 203.0.113.9.</p>", "203.0.113.9"),
    ],
)
async def test_an_echo_service_shows_the_exit_address(
    tls: bool, body: bytes, address: str, certificates: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    server, client = certificates
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(echo(OK + body, certificate=server if tls else None))
        proxies = [
            await stack.enter_async_context(UpstreamProxy("http")),
            await stack.enter_async_context(UpstreamProxy("https", certificate=server)),
            await stack.enter_async_context(UpstreamProxy("socks5")),
        ]

        found = await checks({"us": "direct", "de": [proxy.url for proxy in proxies]}, url, client)

        assert [(check.address, check.problem) for check in found] == [(address, "")] * 4
        assert all(proxy.asked == [url.split("/")[2]] for proxy in proxies)


def test_on_uvloop_tls_passes_inside_tls(certificates: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server, client = certificates

    async def scenario() -> list[ExitCheck]:
        async with (
            echo(OK + b"203.0.113.9", certificate=server) as url,
            UpstreamProxy("https", certificate=server) as proxy,
        ):
            return await checks({"de": proxy.url}, url, client)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        (found,) = runner.run(scenario())

    assert (found.address, found.problem) == ("203.0.113.9", "")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 503 Busy\r\n\r\n", "the echo service answers 'HTTP/1.1 503 Busy'"),
        (OK + b"no address", "the echo service answers without an IP address"),
        (b"", "the echo service answers ''"),
        (b"\x00\xff", "the echo service answers '\\x00\ufffd'"),
    ],
)
async def test_an_echo_service_that_fails_is_told_apart_from_the_proxy(answer: bytes, problem: str) -> None:
    async with echo(answer) as url, UpstreamProxy("http") as proxy:
        (found,) = await checks({"de": proxy.url}, url)

        assert (found.problem, found.address) == (problem, None)


async def _down(proxy: UpstreamProxy) -> None:
    await proxy.down()


async def _rejects(proxy: UpstreamProxy) -> None:
    proxy.user = "other"


async def _fails(proxy: UpstreamProxy) -> None:
    proxy.answer = b"HTTP/1.1 503 No exit\r\n\r\n"


async def _babbles(proxy: UpstreamProxy) -> None:
    proxy.answer = b"SSH-2.0-OpenSSH_9.2p1\r\n"


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (_down, "it refuses connections"),
        (_rejects, "it rejects the credentials (CONNECT answered 407)"),
        (_fails, "CONNECT answered 503"),
        (_babbles, "it does not speak the protocol of its URL"),
    ],
)
async def test_what_is_wrong_is_said_in_words_without_credentials(
    spoil: Callable[[UpstreamProxy], Any], problem: str
) -> None:
    async with echo(OK + b"203.0.113.9") as url, UpstreamProxy("http", user="me", password="hunter2") as proxy:
        address = proxy.url
        await spoil(proxy)

        (found,) = await checks({"de": address}, url)

        assert found == ExitCheck("de", f"http://127.0.0.1:{proxy.port}", problem=problem)


async def test_a_direct_country_obeys_the_address_policy() -> None:
    (found,) = await checks({"us": "direct"}, "http://10.0.0.1/ip")

    assert found.problem == "refused by the address policy: 10.0.0.1"
