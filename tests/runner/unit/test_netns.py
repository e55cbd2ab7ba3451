"""Sockets of another network namespace, with the real helper and a namespace of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from runner import netns
from runner.netns import NamespaceError, SocketFactory
from tests.patience import PATIENCE

UNSHARE = ["unshare", "--user", "--map-root-user", "--net"]


def can_unshare() -> bool:
    return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0


needs_namespaces = pytest.mark.skipif(not can_unshare(), reason="user namespaces are refused here")


@contextmanager
def namespace() -> Iterator[int]:
    """A descriptor of a new network namespace with a loopback interface that is up."""
    script = "ip link set lo up 2>/dev/null; echo; exec sleep 600"
    with subprocess.Popen([*UNSHARE, "sh", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        fd = os.open(f"/proc/{process.pid}/ns/net", os.O_RDONLY)
        try:
            yield fd
        finally:
            os.close(fd)
            process.kill()


class Patient(SocketFactory):
    """Its helper may take its time: five seconds are not enough when the machine stands still."""

    def _running_helper(self) -> socket.socket:
        channel = super()._running_helper()
        channel.settimeout(PATIENCE)
        return channel


@pytest.fixture
async def factory() -> AsyncIterator[SocketFactory]:
    made = Patient()
    yield made
    made.close()


@needs_namespaces
async def test_sockets_belong_to_the_namespace_that_was_asked_for(factory: SocketFactory) -> None:
    with namespace() as fd:
        listener, plain = await factory.sockets(fd, plain=3, listen_on=3128)

        assert listener is not None
        assert listener.getsockname() == ("127.0.0.1", 3128)
        assert len(plain) == 3
        assert all(not sock.getblocking() for sock in (listener, *plain))
        with socket.socket() as ours, pytest.raises(OSError):
            ours.connect(("127.0.0.1", 3128))
        for sock in (listener, *plain):
            sock.close()


@needs_namespaces
async def test_without_a_port_there_is_no_listener(factory: SocketFactory) -> None:
    with namespace() as fd:
        listener, plain = await factory.sockets(fd, plain=1)

        assert listener is None
        plain[0].close()


@needs_namespaces
async def test_what_the_kernel_refuses_is_said_and_the_helper_lives_on(factory: SocketFactory) -> None:
    with namespace() as fd, open(os.devnull) as nothing:
        with pytest.raises(NamespaceError, match=r".+"):
            await factory.sockets(nothing.fileno(), plain=1)
        helper = factory._helper
        first, _ = await factory.sockets(fd, plain=0, listen_on=3128)
        assert first is not None
        with first, pytest.raises(NamespaceError, match="in use"):
            await factory.sockets(fd, plain=0, listen_on=3128)

        assert factory._helper is helper


@needs_namespaces
async def test_a_killed_helper_is_replaced(factory: SocketFactory) -> None:
    with namespace() as fd:
        for _ in range(3):
            _none, plain = await factory.sockets(fd, plain=1)
            plain[0].close()
            assert factory._helper is not None
            factory._helper.send_signal(signal.SIGKILL)
            factory._helper.wait()


async def test_a_helper_that_dies_in_the_middle_is_an_error_not_a_hang(
    factory: SocketFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    factory._running_helper()
    assert factory._helper is not None
    factory._helper.send_signal(signal.SIGSTOP)
    asked, recv_fds = threading.Event(), socket.recv_fds

    def receive(*arguments: Any) -> object:
        asked.set()
        return recv_fds(*arguments)

    monkeypatch.setattr(socket, "recv_fds", receive)

    with open("/proc/self/ns/net") as ours:
        asking = asyncio.create_task(factory.sockets(ours.fileno(), plain=1))
        await asyncio.to_thread(asked.wait, PATIENCE)
        factory._helper.send_signal(signal.SIGKILL)

        with pytest.raises(NamespaceError):
            await asyncio.wait_for(asking, PATIENCE)


@needs_namespaces
async def test_a_caller_who_gives_up_does_not_leave_its_sockets_to_the_next(
    factory: SocketFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next caller may ask for another browser's jail: an answer must reach its own caller or none."""
    gate, exchange, first = threading.Event(), netns._exchange, threading.Event()

    def held(channel: socket.socket, request: bytes, fd: int) -> tuple[bytes, list[int]]:
        if not first.is_set():
            first.set()
            gate.wait(PATIENCE)
        return exchange(channel, request, fd)

    monkeypatch.setattr(netns, "_exchange", held)
    with namespace() as one, namespace() as two:
        giving_up = asyncio.create_task(factory.sockets(one, plain=2))
        while not first.is_set():
            await asyncio.sleep(0.001)
        giving_up.cancel()
        await asyncio.gather(giving_up, return_exceptions=True)
        next_one = asyncio.create_task(factory.sockets(two, plain=1, listen_on=3128))
        for _ in range(5):
            await asyncio.sleep(0)  # it waits for its turn
        gate.set()
        listener, plain = await asyncio.wait_for(next_one, PATIENCE)

        assert listener is not None
        assert listener.getsockname() == ("127.0.0.1", 3128)
        assert len(plain) == 1
        for sock in (listener, *plain):
            sock.close()


async def test_a_kernel_without_the_interface_is_told_once(
    factory: SocketFactory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Browsers then say that they are offline, and work."""
    monkeypatch.setattr(netns, "_exchange", lambda channel, request, namespaces: (b"ok [Errno 95] no veth here", []))

    with open("/proc/self/ns/net") as ours:
        for _ in range(2):
            assert await factory.sockets(ours.fileno(), plain=0) == (None, [])

    assert [record.message for record in caplog.records] == [
        "browsers say that they are offline: [Errno 95] no veth here"
    ]
