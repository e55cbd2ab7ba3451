"""One viewer's connection: what keeps it, and what cuts it off."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, Protocol

from runner.live.messages import Copy, Input, Mode, Text
from runner.live.viewer import ENDED, MISSED_HEARTBEATS, REFUSED, UNREAD_BYTES, Viewer
from tests.patience import PATIENCE


class Peer:
    """The other end of a viewer's connection, which speaks WebSocket by hand."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.protocol = Protocol(CLIENT, max_size=None)
        self.frames: list[Frame] = []

    @property
    def close_code(self) -> int | None:
        """That of the close frame which has come."""
        return self.protocol.close_rcvd.code if self.protocol.close_rcvd is not None else None

    async def send(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def hears(self, count: int) -> list[Frame]:
        """The first `count` frames, or fewer when the connection ends before."""
        async with asyncio.timeout(PATIENCE):
            while len(self.frames) < count:
                with suppress(ConnectionResetError):
                    if data := await asyncio.get_running_loop().sock_recv(self.sock, 65536):
                        self.protocol.receive_data(data)
                        self.frames += [event for event in self.protocol.events_received() if isinstance(event, Frame)]
                        continue
                break
        return self.frames[:count]


class Connected:
    def __init__(self, mode: Mode) -> None:
        self.done: list[Input] = []
        self.gone = asyncio.get_running_loop().create_future()
        self.viewer = Viewer(mode, lambda viewer, done: self.done.append(done), self.gone.set_result)


@asynccontextmanager
async def connected(mode: Mode = "control") -> AsyncIterator[tuple[Connected, Peer]]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    here = Connected(mode)
    here.viewer.take_over(transport, b"")
    with theirs:
        yield here, Peer(theirs)
    await asyncio.wait_for(here.gone, PATIENCE)


async def test_a_viewer_that_answers_pings_stays() -> None:
    async with connected("view") as (here, peer):
        for beat in range(1, 3 * MISSED_HEARTBEATS):
            here.viewer.heartbeat()
            frames = await peer.hears(2 * beat)
            assert [frame.opcode for frame in frames[-2:]] == [Opcode.PING, Opcode.TEXT]
            await peer.send()  # its pong
            await asyncio.sleep(0)
        assert not here.gone.done()


async def test_one_that_vanished_without_a_word_is_cut_off() -> None:
    async with connected("view") as (here, _):
        for _ in range(MISSED_HEARTBEATS + 1):
            here.viewer.heartbeat()

        await asyncio.wait_for(asyncio.shield(here.gone), PATIENCE)


async def test_one_that_asks_and_never_reads_is_cut_off() -> None:
    async with connected("view") as (here, peer):
        with suppress(ConnectionError):
            for _ in range(3 * UNREAD_BYTES // 125):
                peer.protocol.send_ping(b"x" * 125)
                await peer.send()
        await asyncio.wait_for(asyncio.shield(here.gone), PATIENCE)


async def test_a_message_in_pieces_is_one() -> None:
    async with connected() as (here, peer):
        whole = json.dumps({"type": "text", "text": "数" * 100}).encode()
        peer.protocol.send_text(whole[:51], fin=False)
        peer.protocol.send_ping(b"in between")
        peer.protocol.send_continuation(whole[51:], fin=True)
        peer.protocol.send_text(b'{"type": "copy"}')
        await peer.send()
        await peer.hears(1)

        while len(here.done) < 2:
            await asyncio.sleep(0)
        assert here.done == [Text("数" * 100), Copy()]


@pytest.mark.parametrize("data", [b"\xff\xfe", b"\xed\xa0\x80"])
async def test_what_is_no_utf_8_is_refused(data: bytes) -> None:
    async with connected() as (here, peer):
        peer.protocol.send_text(data)
        await peer.send()

        await peer.hears(1)
        assert peer.close_code == REFUSED
    assert here.done == []


async def test_what_comes_behind_a_refusal_is_not_heard() -> None:
    async with connected() as (here, peer):
        for text in (b"nonsense", b'{"type": "copy"}'):
            peer.protocol.send_text(text)
        await peer.send()
        await peer.hears(1)

    assert here.done == []


async def test_frames_that_are_not_masked_end_the_connection() -> None:
    async with connected() as (_, peer):
        await asyncio.get_running_loop().sock_sendall(peer.sock, b"\x81\x02hi")

        await peer.hears(1)
        assert peer.close_code == 1002


async def test_the_last_words_are_heard_before_the_end() -> None:
    async with connected("view") as (here, peer):
        here.viewer.close(ENDED, "over", last="goodbye")
        here.viewer.send("too late")
        here.viewer.send_frame(b"too late")
        here.viewer.close(ENDED, "again")

        await peer.hears(2)
        await peer.send()  # its own goodbye: now the connection ends
        said, closed = await peer.hears(3)
        assert (bytes(said.data), closed.opcode) == (b"goodbye", Opcode.CLOSE)
        assert peer.close_code == ENDED
