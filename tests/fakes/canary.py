"""Listeners that must not be reached. They record every visit."""

from __future__ import annotations

import contextlib
import socket
import threading

from tests.patience import PATIENCE


class Canary:
    """A TCP listener and a UDP socket on one port of the host's loopback. `visits` names every packet and caller."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.host = host
        self.visits: list[str] = []
        self._udp = socket.socket(family, socket.SOCK_DGRAM)
        self._tcp = socket.socket(family, socket.SOCK_STREAM)
        while True:
            self._udp.bind((host, 0))
            self.port = int(self._udp.getsockname()[1])
            try:
                self._tcp.bind((host, self.port))
                break
            except OSError:  # the TCP port is in use
                self._udp.close()
                self._udp = socket.socket(family, socket.SOCK_DGRAM)
        self._tcp.listen(64)

    def __enter__(self) -> Canary:
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._accept, self._receive)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        for sock in (self._tcp, self._udp):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits on it
        for thread in self._threads:
            thread.join(PATIENCE)
        self._tcp.close()
        self._udp.close()

    def _accept(self) -> None:
        while True:
            try:
                visitor, address = self._tcp.accept()
            except OSError:
                return
            self.visits.append(f"TCP from {address}")
            visitor.close()

    def _receive(self) -> None:
        while True:
            try:
                data, address = self._udp.recvfrom(2048)
            except OSError:
                return
            if not data:
                return
            self.visits.append(f"UDP from {address}: {data[:40]!r}")
