"""Sockets that belong to another network namespace, made on request by a small helper process.

A socket lives for good in the namespace it was created in, and connecting, listening and accepting work from any
process that holds its descriptor. So the runner needs nobody inside a jail: the helper forks, the child enters the
jail's namespaces for a moment (`setns`), creates a batch of sockets there, hands them back over a Unix socket
(`SCM_RIGHTS`) and exits. Nothing is relayed, and nothing of ours runs in the jail.

The helper is a process of its own because `setns` into a user namespace wants a single-threaded caller, and because
forking something small takes a millisecond.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys

from runner import netns_helper

MAX_SOCKETS = 64


class NamespaceError(OSError):
    """The helper could not enter the namespace, because it is gone or because the kernel refuses."""


class SocketFactory:
    """The runner's end: `sockets()` gives TCP sockets of any network namespace. One request at a time."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._channel: socket.socket | None = None
        self._helper: subprocess.Popen[bytes] | None = None

    async def sockets(
        self, namespace: int, *, plain: int, listen_on: int = 0
    ) -> tuple[socket.socket | None, list[socket.socket]]:
        """A listener on 127.0.0.1:`listen_on` (None when 0) and `plain` unconnected sockets, all non-blocking.

        `namespace` is a descriptor of `/proc/<pid>/ns/net`. Raises NamespaceError.
        """
        exchange = asyncio.ensure_future(self._sockets(os.dup(namespace), plain, listen_on))
        try:
            return await asyncio.shield(exchange)
        except asyncio.CancelledError:
            # Our caller gave up. The answer must be read all the same, or the next caller would get it:
            # sockets of another browser's jail.
            exchange.add_done_callback(_discard)
            raise

    async def _sockets(
        self, namespace: int, plain: int, listen_on: int
    ) -> tuple[socket.socket | None, list[socket.socket]]:
        """`sockets`, to be left alone until it is done. Closes `namespace`."""
        try:
            async with self._lock:
                channel = self._running_helper()
                loop = asyncio.get_running_loop()
                request = netns_helper.REQUEST.pack(plain, listen_on)
                try:
                    message, fds = await loop.run_in_executor(None, _exchange, channel, request, namespace)
                except OSError as error:
                    self.close()
                    raise NamespaceError(f"the socket helper died: {error}") from error
        finally:
            os.close(namespace)
        if message != b"ok":
            raise NamespaceError(message.decode(errors="replace") or "the socket helper died")
        made = [socket.socket(fileno=fd) for fd in fds]
        for sock in made:
            sock.setblocking(False)
        return (made[0], made[1:]) if listen_on else (None, made)

    def _running_helper(self) -> socket.socket:
        if self._channel is not None and self._helper is not None and self._helper.poll() is None:
            return self._channel
        self.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(5)
        with theirs:
            self._helper = subprocess.Popen(
                [sys.executable, "-I", "-S", netns_helper.__file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        self._channel = ours
        return ours

    def close(self) -> None:
        """End the helper. The sockets that it made live on."""
        if self._channel is not None:
            self._channel.close()
        if self._helper is not None:
            self._helper.kill()
            self._helper.wait()
        self._channel = self._helper = None


def _discard(exchange: asyncio.Future[tuple[socket.socket | None, list[socket.socket]]]) -> None:
    """Close what was made for a caller that is gone."""
    if exchange.cancelled() or exchange.exception() is not None:
        return
    listener, plain = exchange.result()
    for sock in (listener, *plain):
        if sock is not None:
            sock.close()


def _exchange(channel: socket.socket, request: bytes, namespace: int) -> tuple[bytes, list[int]]:
    socket.send_fds(channel, [request], [namespace])
    message, fds, _flags, _address = socket.recv_fds(channel, 1024, MAX_SOCKETS + 1)
    return message, list(fds)
