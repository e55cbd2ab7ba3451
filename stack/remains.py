"""Whether processes were left behind: orphans below us become our children, and so can be counted. Linux."""

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
    """Wait until nothing runs below this process, but what is in `ignore` and below that.

    Returns what still does after `patience` seconds.
    """
    until = time.monotonic() + patience
    while True:
        left = _running(ignore)
        _reap(left)
        if not left or time.monotonic() > until:
            return {pid: command_line(pid) for pid in left}
        time.sleep(0.02)


def now() -> frozenset[int]:
    """What runs below this process at this moment."""
    return _running(frozenset())


def _running(ignore: frozenset[int]) -> frozenset[int]:
    parents = _parents()
    ignored = ignore.union(*(descendants(pid, parents) for pid in ignore))
    return frozenset(descendants(os.getpid(), parents)) - ignored


def _parents() -> dict[int, int]:
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            # pid (name) state ppid …; the name may hold spaces and parentheses (proc_pid_stat(5))
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    return parents


def _reap(pids: frozenset[int]) -> None:
    """Wait for the orphans that ended: nobody else will, and they would be counted for ever."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):  # not ours: its own parent lives
            os.waitpid(pid, os.WNOHANG)
