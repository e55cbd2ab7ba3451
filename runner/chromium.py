"""One running Chromium: its process, connections to its DevTools port, and how to end it."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from runner.cdp import CdpConnection, EventListener
from runner.cgroups import Cgroup
from runner.netns import SocketFactory

SPARE_SOCKETS = 8


class ChromiumError(Exception):
    """Chromium did not start, or its DevTools port cannot be reached."""


@dataclass(slots=True)
class Chromium:
    """A running browser process and its DevTools address. A `Launcher` makes it, `kill` ends it."""

    process: subprocess.Popen[bytes]
    gone: asyncio.Future[int]
    factory: SocketFactory
    stderr_tail: deque[str]
    listener: socket.socket | None = None  # accepts the connections that the browser opens to its proxy
    namespace: int | None = None  # descriptor of the jail's network namespace; None without a jail
    profile: Path | None = None  # a folder to remove; None in a jail, whose files are on tmpfs
    cgroup: Cgroup | None = None  # of the jail; None without cgroups
    folders: dict[str, int] = field(default_factory=dict)  # descriptors of the folders that it writes, by their paths
    port: int = 0
    path: str = ""  # of the browser-level DevTools WebSocket
    version: str = ""
    page_id: str = ""
    _spares: list[socket.socket] = field(default_factory=list)
    _refill: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def dial(self) -> socket.socket:
        """A new connection to the DevTools port. Raises ChromiumError."""
        try:
            sock = await self._socket()
        except OSError as error:
            raise ChromiumError(f"DevTools cannot be reached: {error}") from error
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        except BaseException as error:
            sock.close()
            if isinstance(error, OSError):
                raise ChromiumError(f"DevTools cannot be reached: {error}") from error
            raise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    async def connect(self, on_event: EventListener) -> CdpConnection:
        """A browser-level CDP connection. Raises ChromiumError or CdpError."""
        return await CdpConnection.open(await self.dial(), port=self.port, path=self.path, on_event=on_event)

    async def listen(self, port: int) -> socket.socket:
        """Another listener in the jail's network namespace; without a jail, on a free port. Raises OSError."""
        self._require_running()
        if self.namespace is None:
            listener: socket.socket | None = socket.create_server(("127.0.0.1", 0), backlog=512)
        else:
            listener, _none = await self.factory.sockets(self.namespace, plain=0, listen_on=port)
        assert listener is not None
        listener.setblocking(False)
        return listener

    async def _socket(self) -> socket.socket:
        self._require_running()
        if self.namespace is None:
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            sock.setblocking(False)
            return sock
        async with self._refill:
            if not self._spares:
                _none, made = await self.factory.sockets(self.namespace, plain=SPARE_SOCKETS)
                self._spares += made
                if self.gone.done():
                    self.release()
                    self._require_running()
            return self._spares.pop()

    def _require_running(self) -> None:
        """Raises OSError after the exit: without its jail, the DevTools address would be one of the host."""
        if self.gone.done():
            raise OSError("the browser has exited")

    def add_spares(self, spares: list[socket.socket]) -> None:
        """Keep unconnected sockets of the jail's network namespace for `dial`."""
        self._spares += spares

    def kill(self) -> None:
        """Kill the browser and its jail. `gone` is done when the process is reaped."""
        with suppress(ProcessLookupError):
            self.process.kill()

    def release(self) -> None:
        """Close the descriptors and remove the files of a browser that has exited."""
        for end in (self.process.stdin, self.process.stdout, self.listener):
            if end is not None:
                end.close()
        for sock in self._spares:
            sock.close()
        self._spares.clear()
        if self.namespace is not None:
            os.close(self.namespace)
            self.namespace = None
        for folder in self.folders.values():
            os.close(folder)
        self.folders.clear()
        if self.profile is not None:
            shutil.rmtree(self.profile, ignore_errors=True)
