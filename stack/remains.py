"""Finds processes that a stack left running. Orphans become children of this process (`adopt_orphans`). Linux."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from stack.child import command_line


def descendants(root: int, parents: dict[int, int]) -> set[int]:
    """The processes below `root`, given each one's parent."""
    found: set[int] = set()
    added = {root}
    while added:
        added = {pid for pid, parent in parents.items() if parent in added} - found
        found |= added
    return found


def wait_for_none(patience: float, ignore: frozenset[int] = frozenset()) -> dict[int, str]:
    """Wait until no process runs below this one, except those in `ignore` and their descendants.

    Returns the command lines of the processes that still run after `patience` seconds, by pid.
    """
    until = time.monotonic() + patience
    while True:
        left = _running(ignore)
        for pid in left:
            # Wait for orphans that have ended. No other process does, and zombies would be counted as running.
            with contextlib.suppress(ChildProcessError):  # not our child: its parent still runs
                os.waitpid(pid, os.WNOHANG)
        if not left or time.monotonic() > until:
            return {pid: command_line(pid) for pid in left}
        time.sleep(0.02)


def now() -> frozenset[int]:
    """The pids of the processes below this one."""
    return _running(frozenset())


def _running(ignore: frozenset[int]) -> frozenset[int]:
    parents = _parents()
    ignored = ignore.union(*(descendants(pid, parents) for pid in ignore))
    return frozenset(descendants(os.getpid(), parents)) - ignored


def _parents() -> dict[int, int]:
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process has ended
            # pid (name) state ppid …; the name may hold spaces and parentheses (proc_pid_stat(5))
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    return parents
