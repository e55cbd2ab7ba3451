"""Sockets in a jail's network namespace, and limits of the jail, both set up by a small helper process.

A socket always stays in the network namespace in which it was created, and any process with its descriptor can connect,
listen and accept. So no process of the runner has to stay in the jail: the helper forks, the child enters the jail's
namespaces (`setns`), creates sockets there, returns them over a Unix socket (`SCM_RIGHTS`) and exits. No data is
relayed. In the jail's user namespace the child has root's capabilities, so it also sets the limits of inodes and of the
first process (`NamespaceLimits`).

The helper is a separate process because `setns` into a user namespace needs a single-threaded caller, and because
forking a small process takes only a millisecond.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field

from runner import netns_helper

log = logging.getLogger("browsa.runner.netns")

MAX_SOCKETS = 64


class NamespaceError(OSError):
    """The helper could not enter the namespace: it no longer exists, or the kernel refuses."""


@dataclass(frozen=True, slots=True)
class NamespaceLimits:
    """Limits that are set from inside a jail. `pid` is its first process, which has not executed the program yet.

    `mounts` is a descriptor of its mount namespace. `inodes` maps folders to numbers, `rlimits` resources to limits.
    `read_only` are mount points. `address` is the IPv4 address of a network interface that leads nowhere.
    """

    pid: int
    mounts: int
    inodes: dict[str, int] = field(default_factory=dict)
    read_only: tuple[str, ...] = ()
    rlimits: dict[int, int] = field(default_factory=dict)
    address: str = ""


class SocketFactory:
    """The runner's side: `sockets()` returns TCP sockets of a network namespace. One request at a time."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._channel: socket.socket | None = None
        self._helper: subprocess.Popen[bytes] | None = None
        self._warned = False

    async def sockets(
        self, namespace: int, *, plain: int, listen_on: int = 0, limits: NamespaceLimits | None = None
    ) -> tuple[socket.socket | None, list[socket.socket]]:
        """A listener on 127.0.0.1:`listen_on` (None when 0) and `plain` unconnected sockets, all non-blocking.

        `namespace` is a descriptor of `/proc/<pid>/ns/net`. The helper also sets the `limits`. Raises NamespaceError.
        """
        request = {"plain": plain, "port": listen_on, "rlimits": {}, "address": ""}
        namespaces = [os.dup(namespace)]
        if limits is not None:
            request |= {"pid": limits.pid, "rlimits": limits.rlimits}
            request |= {"inodes": limits.inodes, "read_only": limits.read_only, "address": limits.address}
            namespaces.append(os.dup(limits.mounts))
        exchange = asyncio.ensure_future(self._sockets(json.dumps(request).encode(), namespaces, bool(listen_on)))
        try:
            return await asyncio.shield(exchange)
        except asyncio.CancelledError:
            # The exchange must still finish: otherwise the next caller would read this reply, with sockets of
            # another jail.
            exchange.add_done_callback(_discard)
            raise

    async def _sockets(
        self, request: bytes, namespaces: list[int], listens: bool
    ) -> tuple[socket.socket | None, list[socket.socket]]:
        """The exchange of `sockets`, which must not be cancelled. Closes `namespaces`."""
        try:
            async with self._lock:
                channel = self._running_helper()
                loop = asyncio.get_running_loop()
                try:
                    message, fds = await loop.run_in_executor(None, _exchange, channel, request, namespaces)
                except OSError as error:
                    self.close()
                    raise NamespaceError(f"the socket helper died: {error}") from error
        finally:
            for namespace in namespaces:
                os.close(namespace)
        answer, _, without = message.decode(errors="replace").partition(" ")
        if answer != "ok":
            raise NamespaceError(message.decode(errors="replace") or "the socket helper died")
        if without and not self._warned:
            self._warned = True
            log.warning("browsers say that they are offline: %s", without)
        made = [socket.socket(fileno=fd) for fd in fds]
        for sock in made:
            sock.setblocking(False)
        return (made[0], made[1:]) if listens else (None, made)

    def _running_helper(self) -> socket.socket:
        if self._channel is not None and self._helper is not None and self._helper.poll() is None:
            return self._channel
        self.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(5)
        with theirs:
            self._helper = subprocess.Popen(
                [sys.executable, "-I", "-S", netns_helper.__file__, str(theirs.fileno())],
                env={},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        self._channel = ours
        return ours

    def close(self) -> None:
        """End the helper. The sockets that it created stay open."""
        if self._channel is not None:
            self._channel.close()
        if self._helper is not None:
            self._helper.kill()
            self._helper.wait()
        self._channel = self._helper = None


def _discard(exchange: asyncio.Future[tuple[socket.socket | None, list[socket.socket]]]) -> None:
    """Close the sockets of a cancelled caller."""
    if exchange.cancelled() or exchange.exception() is not None:
        return
    listener, plain = exchange.result()
    for sock in (listener, *plain):
        if sock is not None:
            sock.close()


def _exchange(channel: socket.socket, request: bytes, namespaces: list[int]) -> tuple[bytes, list[int]]:
    socket.send_fds(channel, [request], namespaces)
    message, fds, _flags, _address = socket.recv_fds(channel, 1024, MAX_SOCKETS + 1)
    return message, list(fds)
