"""The runner's own CDP connection, against DevTools that behave and that don't."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode

from runner import cdp
from runner.cdp import CdpClosed, CdpConnection, CdpError
from runner.websocket import Messages, client_frame
from tests.patience import PATIENCE

Script = Callable[[ServerConnection], Awaitable[None]]
Event = tuple[str, dict[str, Any], str | None]


async def connected(port: int, events: list[Event], path: str = "/devtools/browser/x") -> CdpConnection:
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return await CdpConnection.open(sock, port=port, path=path, on_event=lambda *event: events.append(event))


@asynccontextmanager
async def talking(script: Script) -> Any:
    """A connection to a server that does `script`, and the events that come."""
    events: list[Event] = []
    async with serve(script, "127.0.0.1", 0, compression=None, max_size=None) as server:
        connection = await connected(server.sockets[0].getsockname()[1], events)
        yield connection, events
        await connection.close()


@asynccontextmanager
async def answering(head: bytes, *, then_hang_up: bool = False) -> Any:
    """The port of a server that answers a handshake so, and what is set once its connection is over."""
    over = asyncio.Event()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionResetError, asyncio.IncompleteReadError):  # they may have left before they spoke
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            if not then_hang_up:
                assert await reader.read() == b""
        writer.close()
        over.set()

    async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], over


async def echo(browser: ServerConnection) -> None:
    """Each command's reply is its params; events in between."""
    async for raw in browser:
        command = json.loads(raw)
        await browser.send(json.dumps({"method": "Some.event", "params": {"n": 1}, "sessionId": "S"}))
        await browser.send(json.dumps({"id": command["id"], "result": command["params"]}))


async def test_commands_get_their_own_replies_in_any_order() -> None:
    async def backwards(browser: ServerConnection) -> None:
        commands = [json.loads(await browser.recv()) for _ in range(3)]
        for command in reversed(commands):
            await browser.send(json.dumps({"id": command["id"], "result": {"said": command["method"]}}))
        await browser.wait_closed()

    async with talking(backwards) as (connection, _events):
        replies = await asyncio.gather(*(connection.call(f"A.{name}") for name in "xyz"))
    assert [reply["said"] for reply in replies] == ["A.x", "A.y", "A.z"]


@pytest.mark.parametrize("size", [0, 1, 100, 125, 126, 2**16 - 40, 2**16, 3_000_000])
async def test_messages_of_every_size_go_and_come_whole(size: int) -> None:
    async with talking(echo) as (connection, events):
        params = {"text": "\u00e4" * size}
        assert await connection.call("A.b", params, timeout=PATIENCE) == params
    assert events == [("Some.event", {"n": 1}, "S")]


async def test_a_refusal_is_an_error_with_its_words() -> None:
    async def refuse(browser: ServerConnection) -> None:
        command = json.loads(await browser.recv())
        await browser.send(json.dumps({"id": command["id"], "error": {"code": -32000, "message": "No such thing"}}))
        await browser.wait_closed()

    async with talking(refuse) as (connection, _events):
        with pytest.raises(CdpError, match="No such thing"):
            await connection.call("A.b")


async def test_a_command_that_is_not_answered_ends_in_its_time() -> None:
    async with talking(lambda browser: browser.wait_closed()) as (connection, _events):
        with pytest.raises(CdpError, match=r"A\.b: no answer in 0\.05 s"):
            await connection.call("A.b", timeout=0.05)
        assert not connection.closed


async def test_who_waits_when_the_browser_hangs_up_is_told() -> None:
    async def hang_up(browser: ServerConnection) -> None:
        await browser.recv()
        await browser.close()

    async with talking(hang_up) as (connection, _events):
        with pytest.raises(CdpClosed):
            await connection.call("A.b")
        await connection.close()
        assert connection.closed
        with pytest.raises(CdpClosed):
            await connection.post("A.c")


async def test_who_waits_when_we_hang_up_is_told() -> None:
    async with talking(lambda browser: browser.wait_closed()) as (connection, _events):
        reply = await connection.post("A.b")
        await connection.close()
        with pytest.raises(CdpClosed):
            await reply
        assert connection.closed


async def test_an_ended_session_answers_nothing_more() -> None:
    async def end_the_session(browser: ServerConnection) -> None:
        await browser.recv()
        await browser.send(json.dumps({"method": "Target.detachedFromTarget", "params": {"sessionId": "S"}}))
        await browser.wait_closed()

    async with talking(end_the_session) as (connection, events):
        with pytest.raises(CdpError, match="session has ended"):
            await connection.call("A.b", session="S")
    assert events == [("Target.detachedFromTarget", {"sessionId": "S"}, None)]


async def test_a_ping_is_answered_and_is_no_event() -> None:
    async def ping(browser: ServerConnection) -> None:
        await (await browser.ping("still there?"))
        await browser.send(json.dumps({"method": "Pong.came"}))
        await browser.wait_closed()

    async with talking(ping) as (_connection, events):
        async with asyncio.timeout(PATIENCE):
            while not events:
                await asyncio.sleep(0.001)
    assert events == [("Pong.came", {}, None)]


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "refused"),
        (b"nonsense\r\n\r\n", "refused"),
        (b"", "closed"),
        (b"HTTP/1.1 101 Switching", "closed"),
    ],
)
async def test_a_handshake_that_fails_is_an_error_and_leaves_no_socket(answer: bytes, complaint: str) -> None:
    async with answering(answer, then_hang_up=complaint == "closed") as (port, hung_up):
        with pytest.raises(CdpError, match=complaint):
            await connected(port, [])
        await asyncio.wait_for(hung_up.wait(), PATIENCE)


async def test_a_handshake_without_an_answer_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cdp, "OPEN_SECONDS", 0.05)
    async with answering(b"") as (port, hung_up):
        with pytest.raises(CdpError, match="no answer"):
            await connected(port, [])
        await asyncio.wait_for(hung_up.wait(), PATIENCE)


async def test_nonsense_from_the_browser_ends_the_connection() -> None:
    async def babble(browser: ServerConnection) -> None:
        await browser.recv()
        await browser.send("{not json")
        await browser.wait_closed()

    heard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: heard.append(context))
    async with talking(babble) as (connection, _events):
        with pytest.raises(CdpClosed):
            await connection.call("A.b")
    assert isinstance(heard[0]["exception"], ValueError)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.lists(st.binary(max_size=300), min_size=1, max_size=3), st.booleans()), max_size=4),
    st.lists(st.integers(1, 200), max_size=20),
)
def test_messages_come_out_whole_however_they_are_cut(
    messages: list[tuple[list[bytes], bool]], cuts: list[int]
) -> None:
    stream, expected = b"", []
    for fragments, with_ping in messages:
        for number, fragment in enumerate(fragments):
            opcode, final = Opcode.CONT if number else Opcode.TEXT, number == len(fragments) - 1
            stream += Frame(opcode, fragment, fin=final).serialize(mask=False)
            if with_ping and not final:
                stream += Frame(Opcode.PING, b"?").serialize(mask=False)
                expected.append((9, b"?"))
        expected.append((1, b"".join(fragments)))

    reader, found = Messages(), []
    for cut in [*cuts, len(stream)]:
        piece, stream = stream[:cut], stream[cut:]
        found += [(opcode, bytes(payload)) for opcode, payload in reader.feed(piece)]
    found += [(opcode, bytes(payload)) for opcode, payload in reader.feed(stream)]
    assert found == expected


@pytest.mark.parametrize("length", [0, 125, 126, 2**16 - 1, 2**16])
def test_our_frames_are_what_the_standard_says(length: int) -> None:
    payload = b"x" * length
    ours = client_frame(1, payload)
    theirs = Frame(Opcode.TEXT, payload).serialize(mask=True)
    assert len(ours) == len(theirs)
    assert ours[: len(ours) - length - 4] == theirs[: len(theirs) - length - 4]
    assert ours.endswith(bytes(4) + payload)
