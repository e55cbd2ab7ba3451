"""Connections under the address policy: resolve the name once, check the address, connect to exactly that address.

A backend for httpcore, and so for the libraries on top of it (httpx and most LLM clients). TLS and the Host header
still use the name, so a certificate is checked against the caller's URL.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import httpcore
from httpcore import SOCKET_OPTION

from addresses.policy import Address, AllowRule, is_permitted, parse_address, unmapped
from apps.core.outgoing.streams import connect

MAX_ADDRESSES = 4
# Threads resolve names. A name server that hangs blocks one thread for its name and does not delay other names.
RESOLVER_THREADS = 32

Resolver = Callable[[str], Awaitable[list[Address]]]


class AddressRefused(httpcore.ConnectError):
    """The address policy forbids the connection. The message hides the address, which would reveal the network."""

    def __init__(self) -> None:
        super().__init__("the host leads to an address that may not be reached from here")


class NotResolved(httpcore.ConnectError):
    def __init__(self) -> None:
        super().__init__("the host's name can't be resolved")


class ThreadedResolver:
    """The system's resolver on its own threads. Concurrent lookups of one name share a thread."""

    def __init__(self, threads: int = RESOLVER_THREADS) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="resolver")
        self._lookups: dict[str, asyncio.Future[list[Address]]] = {}

    async def __call__(self, host: str) -> list[Address]:
        """Every address of `host`, in the system's order. Raises NotResolved."""
        lookup = self._lookups.get(host)
        if lookup is None:
            lookup = asyncio.get_running_loop().run_in_executor(self._threads, _getaddrinfo, host)
            self._lookups[host] = lookup
            lookup.add_done_callback(lambda done: self._forget(host, done))
        return await asyncio.shield(lookup)  # a cancelled caller does not cancel the lookup of the others

    def _forget(self, host: str, done: asyncio.Future[list[Address]]) -> None:
        del self._lookups[host]
        if not done.cancelled():
            done.exception()  # marks it as retrieved: without a caller asyncio would log a warning

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _getaddrinfo(host: str) -> list[Address]:
    try:
        infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NotResolved from error
    found = [parse_address(str(info[4][0])) for info in infos]
    return [address for address in dict.fromkeys(found) if address is not None]


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects to permitted addresses. `max_response` limits the bytes read after each write; None: no limit."""

    def __init__(self, *, allow: tuple[AllowRule, ...], resolve: Resolver, max_response: int | None = None) -> None:
        self._allow = allow
        self._resolve = resolve
        self._max_response = max_response

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises AddressRefused, NotResolved and httpcore's errors. Ignores `local_address` and `socket_options`."""
        literal = parse_address(host)
        found = [literal] if literal is not None else await self._resolve(host)
        permitted = [unmapped(address) for address in found if is_permitted(address, port, self._allow)]
        if found and not permitted:
            raise AddressRefused
        failure: httpcore.ConnectError | httpcore.ConnectTimeout = NotResolved()
        for address in permitted[:MAX_ADDRESSES]:
            try:
                stream = await connect(str(address), port, timeout=timeout, max_read=self._max_response)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
                continue
            # A public address of this machine leads to services that no firewall protects.
            is_this_machine = stream.local_host == stream.remote_host
            if is_this_machine and not any(rule.permits(address, port) for rule in self._allow):
                await stream.aclose()
                raise AddressRefused
            return stream
        raise failure

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[SOCKET_OPTION] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise AddressRefused

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
