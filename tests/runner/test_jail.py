"""What the kernel says of a running browser: its sandbox, its uid, its namespaces."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import jail
from runner.uids import FIRST_UID
from tests.fakes.site import Site
from tests.runner.client import Cdp
from tests.runner.harness import (
    POOL_SIZE,
    Lease,
    RunnerProcess,
    browser_of,
    browsers_of,
    command_line,
    descendants,
    namespaces,
    renderers,
    status_of,
    until,
)

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


def all_sandboxed(browser: int) -> bool:
    """Whether all of its renderers are. One that is just being made puts itself there before it does anything else."""
    found = []
    for renderer in renderers(browser):
        with contextlib.suppress(OSError):  # it has gone
            status = status_of(renderer)
            locked = (status["Seccomp"], status["NoNewPrivs"], int(status["CapEff"], 16)) == ("2", "1", 0)
            found.append(
                locked and all(namespaces(renderer, kind) != namespaces(browser, kind) for kind in ("user", "net"))
            )
    return all(found)


async def test_chromiums_own_sandbox_is_on(runner: RunnerProcess, shared: Lease, site: Site) -> None:
    await runner.at_rest(warm=POOL_SIZE)
    async with Cdp(shared.cdp_url) as cdp:
        await cdp.open(site.url("/hello"))
        ours = await browser_of(shared)
        for browser in browsers_of(runner.pid):
            await until(lambda: all_sandboxed(browser), what="the sandbox of every renderer")  # noqa: B023
            assert renderers(browser) or browser != ours
        await cdp.open("chrome://sandbox")
        report = await cdp.run("document.body.innerText")

    assert "You are adequately sandboxed" in report


async def test_no_process_was_told_to_do_without_a_sandbox(runner: RunnerProcess, shared: Lease) -> None:
    lines = [command_line(pid) for pid in descendants(runner.pid)]

    assert lines
    assert not [line for line in lines if any("no-sandbox" in argument for argument in line)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only a runner that is root could give its browsers root")
async def test_a_browser_of_a_root_runner_is_not_root_on_the_host(runner: RunnerProcess, shared: Lease) -> None:
    uids: dict[int, set[str]] = {}
    for init in inits_of(runner.pid):
        for pid in descendants(init):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # some come and go
                uids.setdefault(init, set()).update(status_of(pid)["Uid"].split())

    assert len(uids) >= 3  # browsers and the shell for pages
    assert all(int(uid) >= FIRST_UID for jail in uids.values() for uid in jail)
    assert len(set().union(*uids.values())) == len(uids)


def inits_of(runner: int) -> list[int]:
    """The processes that are pid 1 of a jail under a runner (NSpid in proc_pid_status(5))."""
    found = []
    for pid in descendants(runner):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if status_of(pid)["NSpid"].split()[1:] == ["1"]:
                found.append(pid)
    return found


async def test_every_browser_has_namespaces_of_its_own(runner: RunnerProcess, shared: Lease) -> None:
    kinds = ("pid", "net", "mnt", "ipc", "uts", "user", "cgroup")
    async with runner.lease(), runner.lease():
        await runner.at_rest(warm=POOL_SIZE)
        browsers = browsers_of(runner.pid)
        assert len(browsers) >= 3
        for kind in kinds:
            seen = [namespaces(pid, kind) for pid in browsers] + [namespaces(os.getpid(), kind)]
            assert len(set(seen)) == len(seen), kind


async def test_a_jail_shows_the_named_folders_and_nothing_else(runner: RunnerProcess, shared: Lease) -> None:
    await runner.at_rest(warm=POOL_SIZE)
    for browser in browsers_of(runner.pid):
        root = Path(f"/proc/{browser}/root")
        assert set(os.listdir(root)) <= {
            "usr",
            "bin",
            "sbin",
            "lib",
            "lib32",
            "lib64",
            "etc",
            "var",
            "proc",
            "dev",
            "tmp",
            "home",
            "opt",
        }
        assert set(os.listdir(root / "etc")) <= {"browsa", "fonts", "ssl", "ld.so.cache", "chromium", "opt"}
        assert set(os.listdir(root / "home")) == {"agent"}
        assert os.listdir(root / "usr/local") in ([], ["share"])
        mounts = [line.split() for line in Path(f"/proc/{browser}/mounts").read_text().splitlines()]
        writable = {place for _device, place, _kind, options, *_ in mounts if "rw" in options.split(",")}
        files = {place for place, kind in ((place, kind) for _device, place, kind, *_ in mounts) if kind == "tmpfs"}
        assert writable & files == {"/dev/shm", "/tmp", jail.HOME}  # noqa: S108
        assert not writable & {"/", "/dev", "/usr", "/etc", "/opt", "/bin", "/lib", "/proc/sys"}


@pytest.mark.skipif(shutil.which("nsenter") is None, reason="nsenter (util-linux) enters a jail")
async def test_from_one_jail_the_devtools_of_another_cannot_be_reached(runner: RunnerProcess, shared: Lease) -> None:
    async with runner.lease():
        await runner.at_rest(warm=POOL_SIZE)
        one, two, port = next(strangers(runner))
        assert await connects(two, port)
        assert not await connects(one, port)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


def strangers(runner: RunnerProcess) -> Iterator[tuple[int, int, int]]:
    """Two browsers, and a port of the second one's DevTools at which the first one, and this host, have nothing."""
    for one, two in itertools.permutations(browsers_of(runner.pid), 2):
        for port in set(listening(two)) - {jail.PROXY_PORT} - set(listening(one)) - set(listening(os.getpid())):
            yield one, two, port


def listening(pid: int) -> list[int]:
    """TCP ports that are listened on in the network namespace of `pid` (proc_net_tcp(5))."""
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return [int(row[1].partition(":")[2], 16) for row in rows if row[3] == "0A"]


async def connects(pid: int, port: int) -> bool:
    process = await asyncio.create_subprocess_exec(
        "nsenter", "-t", str(pid), "-n", "bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}",
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    return await process.wait() == 0


async def test_what_one_lease_stored_no_other_sees(runner: RunnerProcess, site: Site) -> None:
    site.pages["/store"] = lambda query: (
        200,
        {"Content-Type": "text/html", "Set-Cookie": "secret=1; Max-Age=999"},
        b"<p>",
    )
    read = "[document.cookie, localStorage.getItem('secret')]"
    async with runner.lease() as one, runner.lease() as two:
        async with Cdp(one.cdp_url) as cdp:
            await cdp.open(site.url("/store"))
            await cdp.run("localStorage.setItem('secret', '1')")
            assert await cdp.run(read) == ["secret=1", "1"]
        async with Cdp(two.cdp_url) as cdp:
            await cdp.open(site.url("/hello"))
            assert await cdp.run(read) == ["", None]
    async with runner.lease() as three, Cdp(three.cdp_url) as cdp:
        await cdp.open(site.url("/hello"))
        assert await cdp.run(read) == ["", None]


async def test_a_browser_is_never_leased_twice(runner: RunnerProcess) -> None:
    seen = set()
    for _ in range(4):
        async with runner.lease() as lease:
            assert lease.granted.page_id not in seen
            seen.add(lease.granted.page_id)
