"""The stack that is measured, its browsers, and a direct connection to one of them without the gateway."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from runner.netns import SocketFactory
from stack.harness import Stack

POOL_SIZE = 4


@dataclass(frozen=True, slots=True)
class Agent:
    """A leased burner, from the API's answer."""

    id: str
    cdp_url: str
    cdp_http: str


class Subject:
    """The stack's API, with the calls that several benchmarks use."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.client = httpx.AsyncClient(base_url=stack.api_url, headers={"X-API-Key": stack.api_key}, timeout=60)

    async def warm(self) -> None:
        """Wait until the pool is full and no browser starts: a start would take a core from what is measured."""
        async with asyncio.timeout(60):
            while True:
                runner = (await self.client.get("/readyz")).json()["checks"]["runner"]
                if runner.get("warm", 0) >= POOL_SIZE and runner["starting"] == 0:  # without "warm" it is not ready
                    return
                await asyncio.sleep(0.05)

    async def provision(self, **fields: Any) -> Agent:
        answer = await self.client.post("/v1/agents", json=fields)
        answer.raise_for_status()
        body = answer.json()
        return Agent(body["id"], body["cdp_url"], body["cdp_http"])

    async def destroy(self, agent: Agent) -> None:
        (await self.client.delete(f"/v1/agents/{agent.id}")).raise_for_status()

    @asynccontextmanager
    async def agent(self, **fields: Any) -> AsyncIterator[Agent]:
        agent = await self.provision(**fields)
        try:
            yield agent
        finally:
            await self.destroy(agent)

    def jails(self) -> list[psutil.Process]:
        """The Chromium main processes of the stack's runner."""
        runner = psutil.Process(self.stack.pids["runner"])
        inside = [p for p in runner.children(recursive=True) if "--remote-debugging-port=0" in p.cmdline()]
        return [p for p in inside if p.name() != "bwrap" and not any("--type=" in a for a in p.cmdline())]


class Direct:
    """A leased browser's DevTools, connected to inside its jail's network namespace, without the gateway."""

    def __init__(self, process: psutil.Process) -> None:
        port, self.path = _active_port(process)
        self.port = int(port)
        self._namespace = os.open(f"/proc/{process.pid}/ns/net", os.O_RDONLY)
        self._factory = SocketFactory()

    @classmethod
    async def find(cls, subject: Subject, agent: Agent) -> Direct:
        """The browser of `agent`, found by its DevTools id."""
        version = (await subject.client.get(f"{agent.cdp_http}/json/version")).json()
        browser_id = version["webSocketDebuggerUrl"].rpartition("/")[2]
        for process in subject.jails():
            if _active_port(process)[1].endswith(browser_id):
                return cls(process)
        raise LookupError("the leased browser is not among the runner's")

    def serves(self, process: psutil.Process) -> bool:
        return _active_port(process)[1] == self.path

    async def dial(self) -> socket.socket:
        _none, (sock,) = await self._factory.sockets(self._namespace, plain=1)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def close(self) -> None:
        os.close(self._namespace)
        self._factory.close()


def _active_port(process: psutil.Process) -> tuple[str, str]:
    """DevTools port and path from Chromium's DevToolsActivePort file. Empty while Chromium starts."""
    file = Path(f"/proc/{process.pid}/root/home/agent/profile/DevToolsActivePort")
    if not file.exists():
        return "", ""
    port, path = file.read_text().splitlines()[:2]
    return port, path
