"""The way into a browser: through sockets of its own jail, and never anywhere else."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections import deque
from typing import Any

import pytest

from runner.chromium import Chromium, ChromiumError


class FakeFactory:
    """Makes sockets of this namespace, after `allow` was set."""

    def __init__(self) -> None:
        self.allow = asyncio.Event()
        self.allow.set()
        self.made: list[socket.socket] = []

    async def sockets(self, namespace: int, *, plain: int, listen_on: int = 0) -> tuple[None, list[socket.socket]]:
        await self.allow.wait()
        batch = [socket.socket() for _ in range(plain)]
        for sock in batch:
            sock.setblocking(False)
        self.made += batch
        return None, batch


def jailed(factory: Any, port: int) -> Chromium:
    process = subprocess.Popen(["true"])
    process.wait()
    gone: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
    made = Chromium(process, gone, factory, deque(), namespace=namespace, port=port)
    gone.add_done_callback(lambda _gone: made.release())
    return made


@pytest.fixture
async def devtools() -> Any:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def test_dials_at_the_same_time_share_no_socket_and_lose_none(devtools: int) -> None:
    factory = FakeFactory()
    browser = jailed(factory, devtools)

    socks = await asyncio.gather(*(browser.dial() for _ in range(20)))

    assert len(set(socks)) == 20
    assert len(factory.made) == 24  # three batches of eight
    browser.gone.set_result(0)
    await asyncio.sleep(0)
    for sock in socks:
        sock.close()
    assert [sock for sock in factory.made if sock.fileno() >= 0] == []


async def test_a_browser_that_is_gone_is_never_dialed_on_this_machine(devtools: int) -> None:
    factory = FakeFactory()
    browser = jailed(factory, devtools)
    browser.gone.set_result(-9)
    await asyncio.sleep(0)

    with pytest.raises(ChromiumError, match="has exited"):
        await browser.dial()
    assert factory.made == []


async def test_a_browser_that_goes_while_it_is_dialed_leaves_no_socket(devtools: int) -> None:
    factory = FakeFactory()
    factory.allow.clear()
    browser = jailed(factory, devtools)
    dialing = asyncio.create_task(browser.dial())
    await asyncio.sleep(0)
    browser.gone.set_result(-9)
    await asyncio.sleep(0)
    factory.allow.set()

    with pytest.raises(ChromiumError, match="has exited"):
        await dialing
    assert [sock for sock in factory.made if sock.fileno() >= 0] == []


async def test_a_refused_dial_closes_its_socket() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        factory = FakeFactory()
        browser = jailed(factory, closed.getsockname()[1])

        with pytest.raises(ChromiumError, match="cannot be reached"):
            await browser.dial()

        browser.gone.set_result(0)
        await asyncio.sleep(0)
        assert [sock for sock in factory.made if sock.fileno() >= 0] == []
