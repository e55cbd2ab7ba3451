"""The guarded client against real servers on loopback that mean no good, and a resolver of our own."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from addresses.policy import Address, parse_allow_list
from apps.core.outgoing import client as outgoing
from apps.core.outgoing import network
from apps.core.outgoing.client import OutgoingClient, OutgoingResponse, RequestFailed
from apps.core.outgoing.network import NotResolved, ThreadedResolver
from apps.core.outgoing.urls import parse
from tests.core.outgoing.certificates import signed_for
from tests.fakes import receivers as tempers
from tests.fakes.receivers import Receiver, Receivers
from tests.patience import PATIENCE

LOOPBACK = "127.0.0.1"


@pytest.fixture
def receivers() -> Iterator[Receivers]:
    with Receivers() as running:
        yield running


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that is held up finds its connections as it left them."""
    for name in ("KEEP_ALIVE_SECONDS", "BODY_SECONDS"):
        monkeypatch.setattr(outgoing, name, PATIENCE)


class Names:
    """A resolver that counts, and gives each answer once before it gives the next."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = [[ip_address(text) for text in answer] for answer in answers]
        self.asked: list[str] = []

    async def __call__(self, host: str) -> list[Address]:
        self.asked.append(host)
        if not self.answers:
            raise NotResolved
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@asynccontextmanager
async def sending(
    allow: str = LOOPBACK, *, names: Names | None = None, certificates: ssl.SSLContext | None = None
) -> AsyncIterator[outgoing.Channel]:
    client = OutgoingClient(allow=parse_allow_list(allow), resolve=names, certificates=certificates)
    channel = client.channel()
    try:
        yield channel
    finally:
        await channel.close()
        client.close()


async def post(channel: outgoing.Channel, url: str, *, seconds: float = PATIENCE) -> OutgoingResponse:
    return await channel.post(parse(url), headers={"Content-Type": "application/json"}, body=b"{}", seconds=seconds)


async def refusal(url: str, *, allow: str = LOOPBACK, names: Names | None = None, seconds: float = PATIENCE) -> str:
    async with sending(allow, names=names) as channel:
        with pytest.raises(RequestFailed) as caught:
            await post(channel, url, seconds=seconds)
    return str(caught.value)


async def test_an_answer_is_a_status(receivers: Receivers) -> None:
    receiver = receivers.answering(202)

    async with sending() as channel:
        assert await post(channel, receiver.url("/a?b=c")) == OutgoingResponse(202)

    (got,) = receiver.got
    assert (got.path, got.body, got.headers["content-length"]) == ("/a?b=c", b"{}", "2")
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert not {"cookie", "authorization"} & got.headers.keys()


@pytest.mark.parametrize(
    "addresses",
    [["10.0.0.1"], ["169.254.169.254"], ["::1"], ["::ffff:10.0.0.1"], ["64:ff9b::7f00:1"], ["10.0.0.1", "fd00::1"]],
)
async def test_a_name_that_leads_inside_is_refused_when_it_is_dialled(addresses: list[str]) -> None:
    said = await refusal("http://rebind.example/", names=Names(addresses))

    assert said == "the host leads to an address that may not be reached from here"


async def test_a_literal_address_is_refused_without_being_resolved() -> None:
    names = Names([LOOPBACK])

    assert "may not be reached" in await refusal("http://10.0.0.1/", names=names)
    assert "may not be reached" in await refusal("http://127.0.0.1:1/", allow="127.0.0.1:2", names=names)
    assert names.asked == []


async def test_a_name_that_changes_its_mind_is_resolved_once_and_that_address_dialled(receivers: Receivers) -> None:
    receiver = receivers.answering(200)
    names = Names([LOOPBACK], ["10.0.0.1"])

    async with sending(names=names) as channel:
        assert await post(channel, receiver.url(host="rebind.example")) == OutgoingResponse(200)

    assert names.asked == ["rebind.example"]
    assert receiver.got[0].headers["host"] == f"rebind.example:{receiver.port}"


async def test_of_a_mixed_answer_only_what_is_permitted_is_dialled(receivers: Receivers) -> None:
    receiver = receivers.answering(200)

    async with sending(names=Names(["10.0.0.1", "169.254.169.254", LOOPBACK])) as channel:
        assert await post(channel, receiver.url(host="mixed.example")) == OutgoingResponse(200)


async def test_a_public_address_of_this_very_machine_is_refused(
    receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """127.0.0.1 plays the public address: the policy would let it pass, only the socket shows whose it is."""
    receiver = receivers.answering(200)
    monkeypatch.setattr(network, "is_permitted", lambda address, port, allow: True)

    assert "may not be reached" in await refusal(receiver.url(), allow="")
    assert receiver.got == []


async def test_a_redirect_is_an_answer_and_is_not_followed(receivers: Receivers) -> None:
    inside = receivers.answering(200)
    receiver = receivers.answering(302, Location=inside.url())

    async with sending() as channel:
        assert (await post(channel, receiver.url())).status == 302

    assert (len(receiver.got), inside.got) == (1, [])


async def test_proxies_of_the_environment_are_not_used(receivers: Receivers, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, receiver = receivers.answering(200), receivers.answering(200)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url(""))

    async with sending() as channel:
        await post(channel, receiver.url())

    assert (len(receiver.got), proxy.got) == (1, [])


async def test_a_connection_is_used_again_until_the_other_end_closes_it(receivers: Receivers) -> None:
    receiver = receivers.answering(200)

    async with sending() as channel:
        for _ in range(3):
            await post(channel, receiver.url())
        receiver.temper = tempers.saying(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        for _ in range(2):
            await post(channel, receiver.url())

    assert [got.connection for got in receiver.got] == [1, 1, 1, 1, 2]


async def test_an_idle_connection_that_was_hung_up_is_not_used(receivers: Receivers) -> None:
    receiver = receivers.new(tempers.saying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", then_hang_up=True))

    async with sending() as channel:
        for number in range(3):
            assert await post(channel, receiver.url()) == OutgoingResponse(200)
            while receiver.at_once or (channel._idle and not channel._idle[0].has_expired()):
                await asyncio.sleep(0.01)
            assert receiver.connections == number + 1


@pytest.mark.parametrize("temper", [tempers.hang, tempers.slowly(3600, tempers.status(200))])
async def test_a_receiver_that_does_not_answer_is_given_up(receivers: Receivers, temper: tempers.Temper) -> None:
    assert await refusal(receivers.new(temper).url(), seconds=0.2) == "no answer within 0.2 s"


async def test_a_port_that_takes_no_connection_is_given_up() -> None:
    with socket.create_server((LOOPBACK, 0), backlog=0) as full:
        port = full.getsockname()[1]
        crowd = [socket.socket() for _ in range(4)]
        for sock in crowd:
            sock.setblocking(False)
            sock.connect_ex((LOOPBACK, port))  # the backlog is full now, and the kernel drops what comes
        assert await refusal(f"http://{LOOPBACK}:{port}/", seconds=0.2) == "no answer within 0.2 s"
        for sock in crowd:
            sock.close()


async def test_a_name_server_that_hangs_is_given_up_and_holds_up_no_other_name(
    receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = receivers.answering(200)
    answered = threading.Event()

    def look_up(host: str) -> list[Address]:
        if host == "slow":
            answered.wait(PATIENCE)
            raise NotResolved
        return [ip_address(LOOPBACK)]

    monkeypatch.setattr(network, "_getaddrinfo", look_up)
    client = OutgoingClient(allow=parse_allow_list(LOOPBACK))
    slow, quick = client.channel(), client.channel()

    hanging = [asyncio.create_task(post(slow, "http://slow/")) for _ in range(2 * network.RESOLVER_THREADS)]
    with pytest.raises(RequestFailed, match=r"no answer within 0\.5 s"):
        await post(slow, "http://slow/", seconds=0.5)
    assert await post(quick, receiver.url(host="quick.example")) == OutgoingResponse(200)
    assert not any(one.done() for one in hanging)
    answered.set()
    outcomes = await asyncio.gather(*hanging, return_exceptions=True)

    assert {str(outcome) for outcome in outcomes} == {"the host's name can't be resolved"}
    await quick.close()
    client.close()


@pytest.mark.parametrize("temper", [tempers.huge_headers, tempers.endless_interim])
async def test_an_answer_without_an_end_is_cut_off(receivers: Receivers, temper: tempers.Temper) -> None:
    said = await refusal(receivers.new(temper).url())

    assert "too long" in said or "did not answer with valid HTTP" in said


async def test_of_a_body_little_is_read_and_the_status_counts(receivers: Receivers) -> None:
    receiver = receivers.new(tempers.endless_body)

    async with sending() as channel:
        assert await post(channel, receiver.url()) == OutgoingResponse(200)
        assert channel._idle == [], "a connection with unread bytes in it is no good"


async def test_a_body_that_never_comes_costs_a_moment(receivers: Receivers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "BODY_SECONDS", 0.1)
    receiver = receivers.new(tempers.saying(b"HTTP/1.1 204 Fine\r\n\r\n"))
    dribbling = receivers.new(tempers.saying(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx"))

    async with sending() as channel:
        assert await post(channel, receiver.url()) == OutgoingResponse(204)
        assert await post(channel, dribbling.url()) == OutgoingResponse(200)


@pytest.mark.parametrize(
    "answer",
    [b"nonsense\r\n\r\n", b"HTTP/1.1 200", b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 99999 X\r\n\r\n", b"\x00" * 64],
)
async def test_an_answer_that_is_not_http_is_refused(receivers: Receivers, answer: bytes) -> None:
    receiver = receivers.new(tempers.saying(answer, then_hang_up=True))

    assert "did not answer with valid HTTP" in await refusal(receiver.url())


async def test_a_closed_port_and_an_unknown_name_are_named() -> None:
    with socket.socket() as closed:
        closed.bind((LOOPBACK, 0))
        assert await refusal(f"http://{LOOPBACK}:{closed.getsockname()[1]}/") == "connection refused"
    assert await refusal("http://unknown.example/", names=Names()) == "the host's name can't be resolved"


async def test_the_systems_resolver_says_no_to_what_is_no_name() -> None:
    resolving = ThreadedResolver(1)
    try:
        for name in ("no-such-name.invalid", "a..b", "\udcff"):
            with pytest.raises(NotResolved):
                await resolving(name)
    finally:
        resolving.close()


async def test_tls_is_checked_against_the_name_that_was_written(receivers: Receivers, tmp_path: Path) -> None:
    server, trusting = signed_for("good.example", tmp_path)
    receiver = receivers.new(tempers.status(200), certificate=server)

    async with sending(names=Names([LOOPBACK]), certificates=trusting) as channel:
        for _ in range(2):
            assert await post(channel, receiver.url(host="good.example")) == OutgoingResponse(200)
        with pytest.raises(RequestFailed, match="certificate is not valid"):
            await post(channel, receiver.url(host="other.example"))
        with pytest.raises(RequestFailed, match="certificate is not valid"):
            await post(channel, receiver.url())
    async with sending(names=Names([LOOPBACK])) as channel:
        with pytest.raises(RequestFailed, match="certificate is not valid"):
            await post(channel, receiver.url(host="good.example"))

    assert [got.connection for got in receiver.got] == [1, 1]


async def test_tls_to_a_plain_server_is_an_error(receivers: Receivers) -> None:
    plain = receivers.new(tempers.saying(b"what?\r\n\r\n", then_hang_up=True))

    said = await refusal(plain.url().replace("http:", "https:"), seconds=1)

    assert said.startswith(("TLS failed", "no answer within"))


async def test_retry_after_is_passed_on(receivers: Receivers) -> None:
    receiver: Receiver = receivers.answering(503, Retry_After="120")

    async with sending() as channel:
        assert await post(channel, receiver.url()) == OutgoingResponse(503, retry_after="120")
