"""Control groups for jails: limits of memory (files in the jail included) and processes, and a weight for CPU time.

Version 2 needs a delegated subtree (systemd: `Delegate=yes`; a container with a writable `/sys/fs/cgroup`). Version 1
needs folders that the runner may write. The kernel documents both in admin-guide/cgroup-v2.rst and cgroup-v1/. Without
either, jails have only rlimits.

Each jail has a folder `browsa-<marker>-<pid>-<number>` in the same parent. In version 2 a group that has controllers
enabled for its children cannot contain processes. So the runner first moves the processes of the delegated group,
itself included, to the child `browsa-main`.
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
# The weight of the runner and the other processes of its service; a jail has 200. Version 1 gives these 1,024 shares.
# With equal weights, twenty busy browsers leave so little time to the worker that tasks take three times as long.
MAIN_WEIGHT = 1000
LEFTOVERS_SECONDS = 2.0
ABANDONED_SECONDS = 60.0


class NoCgroups(Exception):
    """The runner cannot create control groups; the message has the reason."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one jail: bytes of memory, number of processes and threads, and `cpu.weight` as in version 2."""

    memory: int
    pids: int
    cpu_weight: int

    def files(self, version: int, controller: str) -> dict[str, int]:
        """What to write into a group's files. Swapped memory counts too, where the kernel can account it."""
        if version == 2:
            return {
                "memory": {"memory.max": self.memory, "memory.swap.max": 0, "memory.oom.group": 1},
                "pids": {"pids.max": self.pids},
                "cpu": {"cpu.weight": self.cpu_weight},
            }[controller]
        return {
            "memory": {"memory.limit_in_bytes": self.memory, "memory.memsw.limit_in_bytes": self.memory},
            "pids": {"pids.max": self.pids},
            "cpu": {"cpu.shares": max(2, self.cpu_weight * 1024 // MAIN_WEIGHT)},
        }[controller]


DEFAULT_LIMITS = Limits(memory=2 * 2**30, pids=1024, cpu_weight=200)
OPTIONAL = ("memory.swap.max", "memory.memsw.limit_in_bytes")


class Cgroup:
    """The control group of one jail. `out_of_memory_seen` is set after an event from `out_of_memory_events`."""

    def __init__(self, version: int, folders: list[Path]) -> None:
        self.out_of_memory_seen = False
        self._version = version
        self._folders = folders

    def add(self, pid: int) -> None:
        """Move a process into the group. Raises OSError."""
        for folder in self._folders:
            _write(folder / "cgroup.procs", pid)

    def out_of_memory_events(self) -> int | None:
        """An eventfd that becomes readable when the group is out of memory; the caller closes it. Raises OSError.

        None with version 2: there the kernel kills the whole group (`memory.oom.group`). With version 1 it kills one
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
        """Whether the group was out of memory, or the kernel has killed one of its processes for that."""
        if self.out_of_memory_seen:
            return True
        for folder in self._folders:
            for name in ("memory.events", "memory.oom_control"):
                with suppress(OSError):
                    counts = dict(line.split() for line in (folder / name).read_text().splitlines())
                    return int(counts.get("oom_kill", 0)) > 0
        return False

    def kill(self) -> None:
        """Kill all processes of the group."""
        for folder in self._folders:
            with suppress(OSError):
                for pid in (folder / "cgroup.procs").read_text().split():
                    with suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)

    def remove(self) -> bool:
        """Remove the group. Returns False while it contains a process."""
        for folder in self._folders:
            try:
                folder.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                return False
        return True


class Cgroups:
    """The parent folders of a runner's groups. `controllers` are the names of the enabled controllers."""

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
        """The cgroups of this process; `marker` identifies the runner's home. Raises NoCgroups with the reasons."""
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
        """Create an empty group with `limits`. Raises OSError."""
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
        """Kill and remove the groups that a previous runner of this home left. Returns their number.

        Groups of other homes are removed when they are empty and old: a live runner fills a new group at once.
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
                with suppress(OSError):  # it contains processes, or another runner has removed it
                    if time.time() - folder.stat().st_mtime > ABANDONED_SECONDS:
                        folder.rmdir()
        return len(found)


class _Hierarchy(NamedTuple):
    """A mounted cgroup hierarchy; `folder` is the group of this process in it."""

    version: int
    controllers: tuple[str, ...]
    folder: Path
    top: bool  # the folder is the root of the mount


def _hierarchies(groups: str, mounts: str) -> Iterator[_Hierarchy]:
    """Parse /proc/self/cgroup, see cgroups(7), and /proc/self/mountinfo, see proc_pid_mountinfo(5)."""
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
    """The folder of each controller: the same one for all. Raises NoCgroups."""
    for hierarchy in hierarchies:
        # A previous runner has moved the parent of this process, and so this process, to MAIN.
        base = hierarchy.folder.parent if hierarchy.folder.name == MAIN else hierarchy.folder
        try:
            offered = (base / "cgroup.controllers").read_text().split()
            wanted = [name for name in CONTROLLERS if name in offered]
            if "memory" not in wanted:
                raise NoCgroups("the memory controller is not available")
            if not _is_delegated(base, top=hierarchy.top):
                raise NoCgroups(f"{base} is not delegated to the runner (systemd: Delegate=yes)")
            if not set(wanted) <= set((base / "cgroup.subtree_control").read_text().split()):
                if (base / "cgroup.type").exists():  # the root cgroup of the machine may contain processes
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
    """Whether systemd's rules let the runner manage this group. Write permission alone does not.

    See CGROUP_DELEGATION.md of systemd. The `top` of a container's tree belongs to the container.
    """
    if top or (folder / MAIN).is_dir():
        return True
    for name in ("trusted.delegate", "user.delegate"):
        with suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return True
    # A unit with `User=` and `Delegate=yes`, from a systemd that sets no extended attribute.
    us = os.geteuid()
    return us != 0 and folder.stat().st_uid == us != folder.parent.stat().st_uid


def _move_processes(base: Path) -> None:
    (base / MAIN).mkdir(exist_ok=True)
    for _ in range(20):  # repeat: a process may have forked since the list was read
        pids = (base / "cgroup.procs").read_text().split()
        for pid in pids:
            with suppress(ProcessLookupError):
                _write(base / MAIN / "cgroup.procs", pid)
        if not pids:
            return


def _find_v1(hierarchies: list[_Hierarchy]) -> dict[str, Path]:
    """The folder of each controller. Raises NoCgroups when the memory controller has none."""
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
    """Write an existing control file; opening for "w" does not create one in cgroupfs."""
    with file.open("w") as writing:
        writing.write(str(value))
