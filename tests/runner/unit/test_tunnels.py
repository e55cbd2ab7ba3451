"""Tunnels through real proxies on loopback: http, https and socks5, with credentials, and each way to fail."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from addresses.egress import Upstream, parse_countries
from runner.egress import connect, tunnels
from runner.egress.connect import Refusal, SiteEnd
from runner.egress.tunnels import Fault, SilentTunnel, SiteFailed, TunnelError, UpstreamFailed, open_tunnel, probe
from runner.splice import Half
from tests.core.outgoing.certificates import signed_for
from tests.fakes.upstream_proxy import Kind, UpstreamProxy
from tests.patience import PATIENCE

KINDS: list[Kind] = ["http", "https", "socks5"]
SESSION = "0123456789abcdef"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A proxy's context, and one that trusts it."""
    return signed_for("127.0.0.1", tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def proxy(request: pytest.FixtureRequest, certificates: Any) -> AsyncIterator[UpstreamProxy]:
    kind: Kind = request.param
    async with UpstreamProxy(kind, certificate=certificates[0] if kind == "https" else None) as made:
        yield made


@pytest.fixture
async def site() -> AsyncIterator[tuple[str, int]]:
    """Greets, then answers in capitals."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"welcome")
        while data := await reader.read(65536):
            writer.write(data.upper())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()
    server.close()


def upstream_of(url: str) -> Upstream:
    (upstream,) = parse_countries(f'{{"de": "{url}"}}')["de"]
    assert isinstance(upstream, Upstream)
    return upstream


every_kind = pytest.mark.parametrize("proxy", KINDS, indirect=True)


@every_kind
@pytest.mark.parametrize(
    ("user", "password"), [(None, ""), ("me", "s3cret"), ("m@e/x", "p:ss ü"), ("me", "")], ids=lambda word: repr(word)
)
async def test_bytes_pass_both_ways(
    proxy: UpstreamProxy, site: tuple[str, int], certificates: Any, user: str | None, password: str
) -> None:
    proxy.user, proxy.password, proxy.destination = user, password, site

    end = await open_tunnel(upstream_of(proxy.url), "far.example", 443, session=SESSION, tls=certificates[1])

    assert proxy.asked == ["far.example:443"]
    assert await asyncio.wait_for(end.read_exactly(7), PATIENCE) == b"welcome"
    assert end.transport is not None
    end.transport.write(b"x" * 200_000)
    assert await asyncio.wait_for(end.read_exactly(200_000), PATIENCE) == b"X" * 200_000
    end.close()


@every_kind
async def test_the_session_is_a_part_of_the_credentials(
    proxy: UpstreamProxy, site: tuple[str, int], certificates: Any
) -> None:
    proxy.user, proxy.destination = "*", site
    upstream = upstream_of(proxy.url_with("user-session-{session}:pass_{session}"))

    (await open_tunnel(upstream, "far.example", 443, session=SESSION, tls=certificates[1])).close()

    assert proxy.logins == [(f"user-session-{SESSION}", f"pass_{SESSION}")]


@every_kind
async def test_a_proxy_that_rejects_the_credentials(proxy: UpstreamProxy, certificates: Any) -> None:
    proxy.user, proxy.password = "me", "right"
    for url in (proxy.url_with("me:wrong"), proxy.url_with("me"), proxy.url.replace("me:right@", "")):
        assert await fault(url, certificates[1]) is Fault.AUTH
        with pytest.raises(UpstreamFailed) as probed:
            await probe(upstream_of(url), session=SESSION, tls=certificates[1])
        assert probed.value.fault is Fault.AUTH


async def failure(url: str, tls: ssl.SSLContext | None = None, host: str = "far.example") -> TunnelError:
    with pytest.raises(TunnelError) as caught:
        (await open_tunnel(upstream_of(url), host, 443, session=SESSION, tls=tls)).close()
    return caught.value


async def fault(url: str, tls: ssl.SSLContext | None = None) -> Fault:
    error = await failure(url, tls)
    assert isinstance(error, UpstreamFailed), repr(error)
    return error.fault


@pytest.mark.parametrize("kind", KINDS)
async def test_a_proxy_that_is_not_there(kind: Kind, certificates: Any) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]

        assert await fault(f"{kind}://127.0.0.1:{port}", certificates[1]) is Fault.REFUSED
        assert await fault(f"{kind}://no-such-proxy.invalid:{port}", certificates[1]) is Fault.NAME


@every_kind
async def test_a_proxy_that_never_says_a_word(
    proxy: UpstreamProxy, certificates: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(tunnels, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(tunnels, "PROBE_SECONDS", 0.4)
    proxy.silent = True

    error = await failure(proxy.url, certificates[1])

    if proxy.kind == "socks5":  # silent before it knew the site
        assert isinstance(error, UpstreamFailed) and error.fault is Fault.SILENT
    else:
        assert isinstance(error, SilentTunnel)
    with pytest.raises(UpstreamFailed) as probed:
        await probe(upstream_of(proxy.url), session=SESSION, tls=certificates[1])
    assert probed.value.fault is Fault.SILENT


@every_kind
@pytest.mark.parametrize("mode", ["stuck", "hangs_up"])
async def test_a_proxy_that_is_silent_about_the_site(
    proxy: UpstreamProxy, certificates: Any, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnels, "ANSWER_SECONDS", 0.5)
    setattr(proxy, mode, True)

    assert isinstance(await failure(proxy.url, certificates[1]), SilentTunnel)


@every_kind
async def test_a_proxy_that_reaches_no_such_site(proxy: UpstreamProxy, certificates: Any) -> None:
    error = await failure(proxy.url, certificates[1], "nowhere.invalid")

    assert isinstance(error, SiteFailed)
    assert error.refusal is (Refusal.UNREACHABLE if proxy.kind == "socks5" else Refusal.TUNNEL)
    await probe(upstream_of(proxy.url), session=SESSION, tls=certificates[1])  # it works


@pytest.mark.parametrize(
    ("kind", "answer", "refusal"),
    [
        ("http", b"HTTP/1.1 502 Bad Gateway\r\n\r\n", Refusal.TUNNEL),
        ("http", b"HTTP/1.0 403 Forbidden\r\nX: y\r\n\r\nno", Refusal.TUNNEL),
        ("http", b"HTTP/1.1 301\r\n\r\n", Refusal.TUNNEL),
        ("socks5", b"\x05\x01\x00\x01" + b"\0" * 6, Refusal.TUNNEL),
        ("socks5", b"\x05\x02\x00\x01" + b"\0" * 6, Refusal.TUNNEL),
        ("socks5", b"\x05\x03\x00\x01" + b"\0" * 6, Refusal.UNREACHABLE),
        ("socks5", b"\x05\x04\x00\x01" + b"\0" * 6, Refusal.UNREACHABLE),
        ("socks5", b"\x05\x05\x00\x01" + b"\0" * 6, Refusal.REFUSED),
        ("socks5", b"\x05\x06\x00\x01" + b"\0" * 6, Refusal.TIMEOUT),
        ("socks5", b"\x05\x63\x00\x01" + b"\0" * 6, Refusal.TUNNEL),
    ],
)
async def test_an_answer_about_the_site_is_the_sites_failure(kind: Kind, answer: bytes, refusal: Refusal) -> None:
    async with UpstreamProxy(kind) as proxy:
        proxy.answer = answer

        error = await failure(proxy.url)

        assert isinstance(error, SiteFailed) and error.refusal is refusal


@pytest.mark.parametrize(
    ("kind", "answer", "expected"),
    [
        ("http", b"nonsense\r\n\r\n", Fault.PROTOCOL),
        ("http", b"\r\n\r\n", Fault.PROTOCOL),
        ("http", b"HTTP/1.1 2000 OK\r\n\r\n", Fault.PROTOCOL),
        ("http", b"HTTP/1.1 2", SilentTunnel),
        ("http", b"HTTP/1.1 OK\r\n\r\n", Fault.PROTOCOL),
        ("http", b"HTTP/2 200\r\n\r\n", Fault.PROTOCOL),
        ("http", b"x", Fault.PROTOCOL),  # not waited for
        ("http", b"\x05\xff", Fault.PROTOCOL),
        ("http", b"HTTP/1.1 200 " + b"x" * 40_000, Fault.PROTOCOL),
        ("http", b"HTTP/1.1 200 " + b"x" * 300_000, Fault.PROTOCOL),
        ("http", b"", SilentTunnel),
        ("socks5", b"HTTP/1.1 400 Bad Request\r\n\r\n", Fault.PROTOCOL),
        ("socks5", b"\x05\x00\x00\x09", Fault.PROTOCOL),
        ("socks5", b"\x05\x00\x00", SilentTunnel),
        ("socks5", b"", SilentTunnel),
    ],
)
async def test_garbage_is_the_proxys_failure(kind: Kind, answer: bytes, expected: object) -> None:
    async with UpstreamProxy(kind) as proxy:
        proxy.answer = answer

        error = await failure(proxy.url)

        assert (error.fault if isinstance(error, UpstreamFailed) else type(error)) is expected


async def test_the_protocols_are_not_mixed_up(certificates: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(tunnels, "ANSWER_SECONDS", 0.5)
    async with UpstreamProxy("http") as http, UpstreamProxy("https", certificate=certificates[0]) as https:
        assert await fault(http.url.replace("http:", "https:"), certificates[1]) is Fault.TLS
        assert isinstance(await failure(https.url.replace("https:", "http:")), UpstreamFailed | SilentTunnel)
        assert await fault(http.url.replace("http:", "socks5:")) in (Fault.SILENT, Fault.PROTOCOL)


@pytest.mark.parametrize("trusts", ["another authority", "another name"])
async def test_an_https_proxy_without_a_valid_certificate_gets_no_credentials(
    certificates: Any, trusts: str, tmp_path: Path
) -> None:
    server, client = certificates if trusts == "another authority" else signed_for("proxy.example", tmp_path)
    if trusts == "another authority":
        _server, client = signed_for("127.0.0.1", tmp_path)
    async with UpstreamProxy("https", user="me", password="s3cret", certificate=server) as proxy:
        error = await failure(proxy.url, client)

        assert isinstance(error, UpstreamFailed) and error.fault is Fault.TLS
        assert "its certificate is not valid" in str(error)
        assert proxy.logins == []


@every_kind
async def test_a_tunnel_that_breaks_ends_the_browsers_connection(
    proxy: UpstreamProxy, site: tuple[str, int], certificates: Any
) -> None:
    proxy.destination, proxy.breaks = site, True
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    _transport, browser = await asyncio.get_running_loop().create_connection(Half, sock=theirs)

    end = await open_tunnel(upstream_of(proxy.url), "far.example", 443, session=SESSION, tls=certificates[1])
    browser.join(end)
    end.send_early()

    received = b""
    async with asyncio.timeout(PATIENCE):
        while chunk := await asyncio.get_running_loop().sock_recv(ours, 100):
            received += chunk
    assert received == b"welcome"
    ours.close()


async def test_what_a_site_sends_and_closes_at_once_arrives(certificates: Any) -> None:
    """Inside TLS the whole connection is over then, before the browser has an answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with UpstreamProxy("https", certificate=certificates[0]) as proxy:
        proxy.destination = server.sockets[0].getsockname()
        end = await open_tunnel(upstream_of(proxy.url), "far.example", 443, session=SESSION, tls=certificates[1])
        assert await over(end)
        assert not end.is_over
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        _transport, browser = await asyncio.get_running_loop().create_connection(Half, sock=theirs)

        browser.join(end)
        end.send_early()

        assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(ours, 100), PATIENCE) == b"bye"
        assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(ours, 100), PATIENCE) == b""
        ours.close()
    server.close()


async def over(end: SiteEnd) -> bool:
    async with asyncio.timeout(PATIENCE):
        while end.transport is not None:
            await asyncio.sleep(0.005)
    return True


@pytest.mark.parametrize("reply", [b"\x05\x00\x00\x03\x09localhost\x00\x50", b"\x05\x00\x00\x04" + b"\0" * 18])
async def test_a_proxys_own_address_in_its_reply_is_skipped_whatever_its_kind(reply: bytes) -> None:
    async with UpstreamProxy("socks5") as proxy:
        proxy.answer = reply + b"after"

        end = await open_tunnel(upstream_of(proxy.url), "1.1.1.1", 80, session=SESSION, tls=None)

        assert await asyncio.wait_for(end.read_exactly(5), PATIENCE) == b"after"
        end.close()
