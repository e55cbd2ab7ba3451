"""Host names that the runner answers itself: to whom, and never by DNS."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from addresses.policy import Address
from runner.egress import socks
from runner.egress.connect import DialError, Refusal
from runner.egress.dial import Dialer
from runner.egress.own_hosts import FRAME_HOST, PAGE_HOST, connect_own
from runner.identity.harness_site import HarnessSite
from runner.identity.measuring_site import MeasuringSite


async def never_asked(name: str) -> list[Address]:
    raise AssertionError(f"a name server was asked for {name}")


async def through_egress(site: MeasuringSite | None, host: str, request: bytes) -> tuple[int, bytes]:
    """The SOCKS reply and the answer, without a lease's route."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = await socks.serve(listener, Dialer((), resolver=never_asked), lambda: None, own=lambda: site)
    try:
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        name = host.encode()
        writer.write(b"\x05\x01\x00" + b"\x05\x01\x00\x03" + bytes([len(name)]) + name + (80).to_bytes(2, "big"))
        await reader.readexactly(2)
        reply = (await reader.readexactly(10))[1]
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return reply, answer
    finally:
        server.close()


GET = b"GET %s HTTP/1.1\r\nHost: browsa.localhost\r\nX-Second: 2\r\nConnection: close\r\n\r\n"


async def test_a_site_is_reached_without_a_lease_and_without_dns() -> None:
    site = MeasuringSite()
    reply, answer = await through_egress(site, PAGE_HOST, GET % b"/")

    assert (reply, answer.split(b"\r\n")[0]) == (0, b"HTTP/1.1 200 OK")
    assert [name for name, _ in site.headers] == ["Host", "X-Second", "Connection"]


@pytest.mark.parametrize("host", [PAGE_HOST, FRAME_HOST, "BROWSA.localhost"])
async def test_without_a_site_the_names_are_refused_by_the_policy(host: str) -> None:
    reply, answer = await through_egress(None, host, GET % b"/")

    assert (reply, answer) == (2, b"")


async def test_other_names_are_not_the_runners() -> None:
    assert connect_own(MeasuringSite(), "example.com", 80) is None
    with pytest.raises(DialError) as refused:
        connect_own(None, PAGE_HOST, 80)
    assert refused.value.refusal == Refusal.POLICY


async def test_the_harness_tells_a_page_what_it_sent() -> None:
    site = HarnessSite()
    await through_egress(site, PAGE_HOST, GET % b"/place")
    _reply, answer = await through_egress(site, PAGE_HOST, GET % b"/seen")

    seen = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert seen["tls"] is None
    assert seen["requests"] == {
        "/place": [["Host", "browsa.localhost"], ["X-Second", "2"], ["Connection", "close"]],
    }


async def test_a_path_that_is_no_page_is_404() -> None:
    _reply, answer = await through_egress(HarnessSite(), PAGE_HOST, GET % b"/other")

    assert answer.startswith(b"HTTP/1.1 404")
