"""Limits of a jail (control group, rlimits, inodes), set before its program starts.

The jail waits for a line before it executes Chromium (`jail.gated`), so Chromium never runs without limits.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import resource
import time
from pathlib import Path

from runner import jail
from runner.cgroups import Cgroup, Cgroups, Limits
from runner.chromium import SPARE_SOCKETS, Chromium
from runner.netns import NamespaceLimits, SocketFactory

log = logging.getLogger("browsa.runner.jail_limits")

LAST_PROCESSES_SECONDS = 2.0
REMOVE_AGAIN_SECONDS = 0.05
# Of an interface without a route. With only `lo`, Chromium says that it is offline.
ADDRESS = "192.168.1.24"
FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MAX_DESCRIPTORS = 8192  # the number that Chromium sets itself


class JailLimiter:
    """Sets the limits of one launcher's jails, and removes the control groups of jails that have ended."""

    def __init__(self, factory: SocketFactory, cgroups: Cgroups | None, limits: Limits) -> None:
        self._factory = factory
        self._cgroups = cgroups
        self._limits = limits
        self._ended_groups: set[Cgroup] = set()

    async def apply(self, browser: Chromium, init: int, *, own_uid: bool) -> None:
        """Limit a jail that waits (`jail.gated`), create the proxy's listener in it, and let it continue.

        `init` is the jail's pid 1. `own_uid`: no other jail has its uid. Raises OSError.
        """
        stdin, stdout = browser.process.stdin, browser.process.stdout
        assert stdin is not None
        assert stdout is not None
        started = await _wait_for_line(stdout.fileno())
        # Use the child of init: bubblewrap's own /proc entries are not readable for the runner.
        children = Path(f"/proc/{init}/task/{init}/children").read_text().split() if started else []
        if not children or browser.gone.done():
            return  # it has ended, and its standard error has the reason
        first = int(children[0])
        if self._cgroups is not None:
            browser.cgroup = self._cgroups.make(self._limits)
            _kill_when_out_of_memory(browser, browser.cgroup)
            # In a thread: on a busy machine the kernel takes some milliseconds.
            await asyncio.get_running_loop().run_in_executor(None, browser.cgroup.add, first)
        for folder in (jail.HOME, jail.TEMPORARY):
            browser.folders[folder] = os.open(f"/proc/{first}/root{folder}", FOLDER)
        browser.folders[jail.MAC_TEMPORARY] = os.dup(browser.folders[jail.TEMPORARY])
        browser.namespace = os.open(f"/proc/{first}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        mounts = os.open(f"/proc/{first}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            limits = NamespaceLimits(
                pid=first,
                mounts=mounts,
                inodes={folder: inodes for folder, _size, inodes in jail.WRITABLE},
                read_only=jail.DEVICES,
                address=ADDRESS,
                rlimits=rlimits(self._limits, processes=own_uid or counts_by_namespace(os.uname().release)),
            )
            browser.listener, spares = await self._factory.sockets(
                browser.namespace, plain=SPARE_SOCKETS, listen_on=jail.PROXY_PORT, limits=limits
            )
        finally:
            os.close(mounts)
        browser.add_spares(spares)
        stdin.write(b"\n")
        stdin.flush()

    def remove_group(self, cgroup: Cgroup) -> None:
        """Remove the group of a jail that has ended; retry while the kernel still kills its last processes."""
        if cgroup.ran_out_of_memory():
            log.warning("a browser ended: it and its files needed more than %d MiB", self._limits.memory >> 20)
        self._ended_groups.add(cgroup)
        self._remove(cgroup, time.monotonic() + LAST_PROCESSES_SECONDS)

    def close(self) -> None:
        """After the end of all jails: wait until their groups are empty, and remove them."""
        until = time.monotonic() + LAST_PROCESSES_SECONDS
        while self._ended_groups and time.monotonic() < until:
            self._ended_groups = {cgroup for cgroup in self._ended_groups if not cgroup.remove()}
            time.sleep(0.01 if self._ended_groups else 0)

    def _remove(self, cgroup: Cgroup, until: float) -> None:
        if cgroup not in self._ended_groups:
            return
        if cgroup.remove():
            self._ended_groups.discard(cgroup)
            return
        if time.monotonic() > until:
            cgroup.kill()
        asyncio.get_running_loop().call_later(REMOVE_AGAIN_SECONDS, self._remove, cgroup, until)


def rlimits(limits: Limits, *, processes: bool) -> dict[int, int]:
    """The rlimits of a jail's first process. Address space has none: Chromium reserves terabytes of it."""
    return {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: limits.memory,
        resource.RLIMIT_NOFILE: MAX_DESCRIPTORS,
        **({resource.RLIMIT_NPROC: limits.pids} if processes else {}),
    }


def counts_by_namespace(release: str) -> bool:
    """Whether this kernel counts processes per uid and user namespace (since 5.14), so that jails may share a uid."""
    return tuple(int(number) for number in re.findall(r"\d+", release)[:2]) >= (5, 14)


async def _wait_for_line(descriptor: int) -> bool:
    """Wait for an empty line from a pipe. Returns False when the pipe is closed first."""
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    loop.add_reader(descriptor, there.set)
    try:
        await there.wait()
    finally:
        loop.remove_reader(descriptor)
    return bool(os.read(descriptor, 1))


def _kill_when_out_of_memory(browser: Chromium, cgroup: Cgroup) -> None:
    """Kill the browser when its group is out of memory, if the kernel does not kill the whole group (version 1)."""
    events = cgroup.out_of_memory_events()
    if events is None:
        return
    loop = asyncio.get_running_loop()

    def end() -> None:
        os.eventfd_read(events)
        cgroup.out_of_memory_seen = True
        browser.kill()

    def stop(_gone: asyncio.Future[int]) -> None:
        loop.remove_reader(events)
        os.close(events)

    loop.add_reader(events, end)
    browser.gone.add_done_callback(stop)
