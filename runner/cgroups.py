"""Control groups for jails: memory (files in the jail included), number of processes, and weight for CPU time.

Version 2 needs a delegated subtree (systemd: `Delegate=yes`; a container with a writable `/sys/fs/cgroup`), version 1
folders that the runner may write. The kernel's documents are admin-guide/cgroup-v2.rst and cgroup-v1/. Where there are
neither, jails have rlimits only.

The groups lie beside the runner's own one, flat: a folder `browsa-<marker>-<pid>-<number>` for each jail. Version 2
allows no processes in a group that divides its resources among others. So the processes of the delegated group, this
one included, move to its child `browsa-main` first.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

CONTROLLERS = ("memory", "pids", "cpu")
MAIN = "browsa-main"
MAIN_WEIGHT = 1000  # of the runner and what else is in its service, beside the weight of each jail
LEFTOVERS_SECONDS = 2.0
ABANDONED_SECONDS = 60.0


class NoCgroups(Exception):
    """The runner can make no control groups; the message says why."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one jail may take: bytes, processes and threads, and CPU time as `cpu.weight` of version 2 counts it."""

    memory: int
    pids: int
    cpu_weight: int

    def files(self, version: int, controller: str) -> dict[str, int]:
        """What to write into a group's files. Memory in a swap file counts, too, where the kernel can count it."""
        if version == 2:
            return {
                "memory": {"memory.max": self.memory, "memory.swap.max": 0, "memory.oom.group": 1},
                "pids": {"pids.max": self.pids},
                "cpu": {"cpu.weight": self.cpu_weight},
            }[controller]
        return {
            "memory": {"memory.limit_in_bytes": self.memory, "memory.memsw.limit_in_bytes": self.memory},
            "pids": {"pids.max": self.pids},
            "cpu": {"cpu.shares": max(2, self.cpu_weight * 1024 // 100)},
        }[controller]


DEFAULT_LIMITS = Limits(memory=2 * 2**30, pids=1024, cpu_weight=200)
OPTIONAL = ("memory.swap.max", "memory.memsw.limit_in_bytes")


class Cgroup:
    """The control group of one jail. `out_of_memory_seen` is set when `out_of_memory_events` has told of one."""

    def __init__(self, version: int, folders: list[Path]) -> None:
        self.out_of_memory_seen = False
        self._version = version
        self._folders = folders

    def add(self, pid: int) -> None:
        """Move a process into it. Raises OSError."""
        for folder in self._folders:
            _write(folder / "cgroup.procs", pid)

    def out_of_memory_events(self) -> int | None:
        """A descriptor that can be read when the kernel has refused memory; the caller closes it. Raises OSError.

        None with version 2: there the kernel ends the whole group (`memory.oom.group`). With version 1 it ends one
        process, and the files of the jail keep their memory.
        """
        if self._version == 2:
            return None
        for folder in self._folders:
            if (folder / "memory.oom_control").exists():
                events = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
                with (folder / "memory.oom_control").open() as control:
                    _write(folder / "cgroup.event_control", f"{events} {control.fileno()}")
                return events
        return None

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel has refused it memory, or ended a process of it for want of memory."""
        if self.out_of_memory_seen:
            return True
        for folder in self._folders:
            for name in ("memory.events", "memory.oom_control"):
                with suppress(OSError):
                    counts = dict(line.split() for line in (folder / name).read_text().splitlines())
                    return int(counts.get("oom_kill", 0)) > 0
        return False

    def kill(self) -> None:
        """Kill what is in it."""
        for folder in self._folders:
            with suppress(OSError):
                for pid in (folder / "cgroup.procs").read_text().split():
                    with suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)

    def remove(self) -> bool:
        """Remove it; False while a process is in it."""
        for folder in self._folders:
            try:
                folder.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                return False
        return True


class Cgroups:
    """Where a runner makes its jails' groups. `controllers` names what they limit."""

    def __init__(self, version: int, folders: dict[str, Path], marker: str) -> None:
        self.version = version
        self.controllers = tuple(folders)
        self._folders = folders
        self._prefix = f"browsa-{marker}-"
        self._numbers = itertools.count(1)

    @classmethod
    def find(
        cls,
        marker: str,
        *,
        groups: Path = Path("/proc/self/cgroup"),
        mounts: Path = Path("/proc/self/mountinfo"),
    ) -> Cgroups:
        """Those of this process; `marker` names the runner's home. Raises NoCgroups with the reasons."""
        try:
            hierarchies = list(_hierarchies(groups.read_text(), mounts.read_text()))
        except OSError as error:
            raise NoCgroups(str(error)) from error
        reasons = []
        for version, find in ((2, _find_v2), (1, _find_v1)):
            try:
                return cls(version, find([h for h in hierarchies if h.version == version]), marker)
            except NoCgroups as error:
                reasons.append(f"version {version}: {error}")
        raise NoCgroups("; ".join(reasons))

    def make(self, limits: Limits) -> Cgroup:
        """A new group with no process in it. Raises OSError."""
        name = f"{self._prefix}{os.getpid()}-{next(self._numbers)}"
        made = Cgroup(self.version, list(dict.fromkeys(folder / name for folder in self._folders.values())))
        try:
            for controller, parent in self._folders.items():
                (parent / name).mkdir(exist_ok=True)
                for file, value in limits.files(self.version, controller).items():
                    with suppress(*((OSError,) if file in OPTIONAL else ())):
                        _write(parent / name / file, value)
        except OSError:
            made.remove()
            raise
        return made

    def remove_leftovers(self) -> int:
        """Kill and remove the groups of an earlier life of this home's runner. Returns how many there were.

        Those of other homes are removed when they are empty: a live runner fills each at once.
        """
        found = [
            Cgroup(self.version, [folder])
            for parent in set(self._folders.values())
            for folder in parent.glob(f"{self._prefix}*")
        ]
        until = time.monotonic() + LEFTOVERS_SECONDS
        left = found
        while left and time.monotonic() < until:
            for group in left:
                group.kill()
            left = [group for group in left if not group.remove()]
            time.sleep(0.01 if left else 0)
        for parent in set(self._folders.values()):
            for folder in parent.glob("browsa-*-*-*"):
                with suppress(OSError):  # it has processes, or another runner removes it
                    if time.time() - folder.stat().st_mtime > ABANDONED_SECONDS:
                        folder.rmdir()
        return len(found)


class _Hierarchy(NamedTuple):
    """A mounted hierarchy: this process's group in it, as a folder."""

    version: int
    controllers: tuple[str, ...]
    folder: Path
    top: bool  # nothing above it can be seen


def _hierarchies(groups: str, mounts: str) -> Iterator[_Hierarchy]:
    """From the texts of cgroups(7) and proc_pid_mountinfo(5)."""
    mine = {}
    for line in groups.splitlines():
        _number, controllers, path = line.split(":", 2)
        mine[frozenset(filter(None, controllers.split(",")))] = path
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        root, mount_point = left.split()[3:5]
        kind, _source, *options = right.split()
        if kind not in ("cgroup", "cgroup2"):
            continue
        for names, path in mine.items():
            if (kind == "cgroup2") != (not names) or not names <= set(options[-1].split(",")):
                continue
            below = os.path.relpath(path, root)
            if not below.startswith(".."):
                yield _Hierarchy(2 if kind == "cgroup2" else 1, tuple(names), Path(mount_point, below), below == ".")


def _find_v2(hierarchies: list[_Hierarchy]) -> dict[str, Path]:
    """One folder for all controllers. Raises NoCgroups."""
    for hierarchy in hierarchies:
        # A runner that was started again by what its first life had moved.
        base = hierarchy.folder.parent if hierarchy.folder.name == MAIN else hierarchy.folder
        try:
            offered = (base / "cgroup.controllers").read_text().split()
            wanted = [name for name in CONTROLLERS if name in offered]
            if "memory" not in wanted:
                raise NoCgroups("it has no memory controller here")
            if not _is_delegated(base, top=hierarchy.top):
                raise NoCgroups(f"{base} is not delegated to us (systemd: Delegate=yes)")
            if not set(wanted) <= set((base / "cgroup.subtree_control").read_text().split()):
                if (base / "cgroup.type").exists():  # the root of the whole machine may have processes
                    _move_processes(base)
                _write(base / "cgroup.subtree_control", " ".join(f"+{name}" for name in wanted))
            with suppress(FileNotFoundError):
                if "cpu" in wanted:
                    _write(base / MAIN / "cpu.weight", MAIN_WEIGHT)
            _check_writable(base)
        except OSError as error:
            raise NoCgroups(str(error)) from error
        return dict.fromkeys(wanted, base)
    raise NoCgroups("not mounted")


def _is_delegated(folder: Path, *, top: bool) -> bool:
    """Whether the processes in it are ours to move, by systemd's rules; that we can write there is not enough.

    See CGROUP_DELEGATION.md of systemd. Nothing above the `top` of a container's tree can be seen.
    """
    if top or (folder / MAIN).is_dir():
        return True
    for name in ("trusted.delegate", "user.delegate"):
        with suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return True
    # A unit with `User=` and `Delegate=yes`, of a systemd that sets no mark for users.
    us = os.geteuid()
    return us != 0 and folder.stat().st_uid == us != folder.parent.stat().st_uid


def _move_processes(base: Path) -> None:
    (base / MAIN).mkdir(exist_ok=True)
    for _ in range(20):  # a process that forks meanwhile leaves another one there
        pids = (base / "cgroup.procs").read_text().split()
        for pid in pids:
            with suppress(ProcessLookupError):
                _write(base / MAIN / "cgroup.procs", pid)
        if not pids:
            return


def _find_v1(hierarchies: list[_Hierarchy]) -> dict[str, Path]:
    """A folder for each controller. Raises NoCgroups when there is none for memory."""
    found, reason = {}, "not mounted"
    for controller in CONTROLLERS:
        for hierarchy in hierarchies:
            if controller not in hierarchy.controllers:
                continue
            try:
                _check_writable(hierarchy.folder)
            except OSError as error:
                reason = str(error)
            else:
                found[controller] = hierarchy.folder
    if "memory" not in found:
        raise NoCgroups(reason)
    return found


def _check_writable(parent: Path) -> None:
    probe = parent / f"browsa-probe-{os.getpid()}"
    probe.mkdir()
    probe.rmdir()


def _write(file: Path, value: object) -> None:
    """Control files exist already: the kernel refuses to create one."""
    with file.open("w") as writing:
        writing.write(str(value))
