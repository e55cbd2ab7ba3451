"""A real runner under test: its process, its control API, and what the kernel knows of its children."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from inspect import isawaitable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import websockets

from runner import wire
from runner.jail import MARKER, marker_of
from stack.child import launched
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
TOKEN = "rt_test"  # what the fake API hears
POOL_SIZE = 3  # of the runner that tests share
PAGE_PLACES = 4  # of the runner that the tests in `pages` share

NOWHERE = {"url": "http://127.0.0.1:1/", "os_family": "macos", "country": "us", "formats": []}  # no port for browsers

T = TypeVar("T")


class Refused(Exception):
    """The control API did not grant a lease."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(f"{answer.status_code}: {answer.text}")
        self.status = answer.status_code
        self.code = answer.json()["code"]


async def until(look: Callable[[], Any], *, seconds: float = PATIENCE, what: str = "it") -> Any:
    """The first true value of `look()`, which may be awaitable. Fails after `seconds`. Looks ever more rarely."""
    deadline = time.monotonic() + seconds
    pause = 0.02
    while True:
        value = look()
        if isawaitable(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds:g} s"
        await asyncio.sleep(pause)
        pause = min(0.1, 1.3 * pause)


async def in_time(seconds: float, measure: Callable[[], Awaitable[float]]) -> None:
    """As `tests.patience.keeps_to`."""
    took = [await measure()]
    if took[0] >= seconds:
        took += [await measure(), await measure()]
    assert sorted(took)[len(took) // 2] < seconds, (
        f"it took {', '.join(f'{one:.2f}' for one in took)} s, not {seconds:g}"
    )


def reserved_port() -> socket.socket:
    """A socket that reserves a port: a process that knows the port can listen there, and no other process gets it."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # not before: then others could have the port, too
    return sock


class RunnerProcess:
    """`python -m runner` with a home, a socket and a port of its own."""

    def __init__(self, **settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bwr"))  # short: a Unix socket's path has 107 bytes at most
        self.home = self.folder / "home"
        self.home.mkdir()
        self.socket = self.folder / "r.sock"
        self._port = reserved_port()  # also between two lives
        self.port = int(self._port.getsockname()[1])
        self.output = self.folder / "log"
        self.settings = {
            "BROWSA_HOME": str(self.home),
            "BROWSA_RUNNER_SOCKET": str(self.socket),
            "BROWSA_GATEWAY_PORT": str(self.port),
            "BROWSA_RUNNER_TOKEN": TOKEN,
            "BROWSA_LOG_LEVEL": "DEBUG",
            "EGRESS_COUNTRIES": '{"us": "direct", "de": "direct"}',
            **settings,
        }

    def start(self, *, user: int | None = None) -> RunnerProcess:
        """Call this from the main thread: the runner is killed when the thread that started it ends."""
        environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("BROWSA_", "EGRESS_", "PYTHON")) or name in ("BROWSA_CHROMIUM",)
        }
        with self.output.open("ab") as log:
            self.process = subprocess.Popen(
                launched([sys.executable, "-m", "runner"], user=() if user is None else ("--setuid", f"{user}:{user}")),
                cwd=ROOT,
                env={**environ, **self.settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        return self.output.read_text(errors="replace")

    async def ready(self, *, warm: int = 1, seconds: float = PATIENCE) -> RunnerProcess:
        """Wait until the control API answers and `warm` browsers wait for a lease."""

        async def is_ready() -> bool:
            assert self.process.poll() is None, f"the runner ended: {self.log()[-2000:]}"
            try:
                return (await self.status()).warm >= warm
            except httpx.TransportError:
                return False

        await until(is_ready, seconds=seconds, what=f"a runner with {warm} warm browsers")
        return self

    async def at_rest(self, *, warm: int) -> None:
        """Wait until it has started all that it will, and buried what was killed."""

        async def serves_pages() -> bool:
            return (await self.request("POST", "/pages", json=NOWHERE)).status_code == 200

        async def has_its_browsers() -> bool:
            status = await self.status()
            settled = (status.starting, status.leased) == (0, len(await self.leases()))
            return settled and status.warm >= warm

        await until(serves_pages, what="a headless shell")
        await until(has_its_browsers, what=f"{warm} warm browsers and no others")

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket), verify=False)
        patience = 2 * PATIENCE  # it may wait itself
        async with httpx.AsyncClient(transport=transport, base_url="http://runner", timeout=patience) as client:
            return await client.request(method, path, **options)

    async def status(self) -> wire.RunnerStatus:
        return wire.RunnerStatus.from_json((await self.request("GET", "/status")).content)

    async def leases(self) -> list[str]:
        return list((await self.request("GET", "/leases")).json()["leases"])

    async def grant(self, **fields: Any) -> Lease:
        """Lease a browser. Raises Refused."""
        wanted = {
            "lease_id": f"agt_{secrets.token_hex(10)}",
            "os_family": "macos",
            "country": "us",
            "ttl_seconds": 600,
            "wait_seconds": PATIENCE,
            **fields,
        }
        answer = await self.request("POST", "/leases", json=wanted)
        if answer.status_code != 200:
            raise Refused(answer)
        return Lease(self, wire.LeaseGranted.from_json(answer.content))

    @contextlib.asynccontextmanager
    async def lease(self, **fields: Any) -> AsyncIterator[Lease]:
        """A new lease, released at the end."""
        lease = await self.grant(**fields)
        try:
            yield lease
        finally:
            if self.process.poll() is None:
                await lease.release()

    async def brief_lease(self, reach: Callable[[Lease], Awaitable[T]]) -> tuple[Lease, T]:
        """A lease whose deadline is near, and what `reach` has of it: if the deadline came first, that of a longer one.

        `reach` raises LookupError or InvalidStatus when there is no such browser any more.
        """
        seconds = 1
        while True:
            lease = await self.grant(ttl_seconds=seconds)
            try:
                return lease, await reach(lease)
            except (LookupError, websockets.InvalidStatus):
                assert lease.id not in await self.leases() and seconds < PATIENCE
                seconds *= 4

    def stop(self, how: signal.Signals = signal.SIGINT, *, seconds: float = PATIENCE) -> int:
        """Signal it and wait for its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(seconds)

    def clean(self) -> None:
        """End it by any means and remove its files."""
        if self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._port.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Lease:
    """A granted lease and its addresses."""

    def __init__(self, runner: RunnerProcess, granted: wire.LeaseGranted) -> None:
        self.runner = runner
        self.granted = granted
        self.id = granted.lease_id
        self.cdp_path = f"/api/v1/cdp/{granted.profile}/ws/page/{granted.page_id}"
        self.cdp_url = f"ws://127.0.0.1:{runner.port}{self.cdp_path}"
        self.cdp_http = f"http://127.0.0.1:{runner.port}/api/v1/cdp/{granted.profile}"

    async def release(self) -> None:
        answer = await self.runner.request("DELETE", f"/leases/{self.id}")
        assert answer.status_code == 204


def plain_http() -> httpx.AsyncClient:
    """A client that doesn't speak TLS, and so is ready at once."""
    return httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(verify=False), timeout=PATIENCE)


def children() -> dict[int, list[int]]:
    """Every process's children, by pid."""
    found: dict[int, list[int]] = {}
    for pid in pids():
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text()
            found.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(pid)
    return found


def pids() -> Iterator[int]:
    return (int(entry) for entry in os.listdir("/proc") if entry.isdigit())


def descendants(pid: int, family: dict[int, list[int]] | None = None) -> list[int]:
    if family is None:
        family = children()
    found, todo = [], [pid]
    while todo:
        below = family.get(todo.pop(), [])
        found += below
        todo += below
    return found


def command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def status_of(pid: int) -> dict[str, str]:
    """The fields of /proc/<pid>/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def namespaces(pid: int, *kinds: str) -> tuple[str, ...]:
    return tuple(os.readlink(f"/proc/{pid}/ns/{kind}") for kind in kinds)


def browsers_of(runner: int) -> list[int]:
    """Chromium's browser processes under a runner: those that are no helper of another one."""
    return first_of_their_kind(runner, is_browser)


def first_of_their_kind(runner: int, kind: Callable[[int], bool]) -> list[int]:
    """Processes under a runner whose parents are not of this kind: a new helper is its parent's copy for a moment."""
    family = children()
    found = [pid for pid in descendants(runner, family) if kind(pid)]
    copies = {child for pid in found for child in family.get(pid, [])}
    return [pid for pid in found if pid not in copies]


def is_browser(pid: int) -> bool:
    """Whether it is the first process of a Chromium that can be leased; the one for pages opens no windows."""
    line = command_line(pid)
    return (
        bool(line)
        and "bwrap" not in line[0]
        and "--headless=new" in line
        and not any("--type=" in word or word == "--block-new-web-contents" for word in line)
    )


def renderers(pid: int) -> list[int]:
    """The renderers below a process. The zygote that forks them names each by one long word."""
    return [child for child in descendants(pid) if "--type=renderer" in " ".join(command_line(child))]


def marked(home: Path) -> list[int]:
    """Every process on this machine that runs in a jail of that runner's home, or is the jail itself."""
    found, marker = [], marker_of(home)
    for pid in pids():
        with contextlib.suppress(OSError):
            if f"{MARKER}={marker}".encode() in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(pid)
                continue
        if marker in command_line(pid):
            found.append(pid)
    return found


async def browser_of(lease: Lease) -> int:
    """The pid, on this host, of a lease's Chromium: the one that wrote down the DevTools address the gateway names."""
    async with plain_http() as http:
        version = (await http.get(f"{lease.cdp_http}/json/version")).json()
    name = version["webSocketDebuggerUrl"].rpartition("/")[2]
    for pid in browsers_of(lease.runner.pid):
        with contextlib.suppress(OSError):
            if name in Path(f"/proc/{pid}/root/home/agent/profile/DevToolsActivePort").read_text():
                return pid
    raise LookupError(lease.id)
