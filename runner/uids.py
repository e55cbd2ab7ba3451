"""Host uids for jails: a uid belongs to only one jail at a time, also with several runners on a host.

The kernel counts processes by uid (`RLIMIT_NPROC`) and lets processes of one uid signal and trace each other, so two
jails must not share one. Runners reserve ranges of uids. A range belongs to the process that holds the lock on its
file; the kernel releases the lock when that process ends.
"""

from __future__ import annotations

import fcntl
import os
from collections import deque
from pathlib import Path

from runner.jail import JailError

# A range of the uid space without other users (systemd, docs/UIDS-GIDS.md: 1879048192 to 2147352575).
FIRST_UID = 1_900_000_000
RANGE = 256
RANGES = 256
LOCKS = Path("/run/browsa-uids")


class Uids:
    """The uids of one runner, for all its launchers. All runners of a host use the same folder `locks`, which has a
    file named by its number for each range. Range 0 begins with the uid `first`.
    """

    def __init__(self, locks: Path = LOCKS, *, first: int = FIRST_UID) -> None:
        self._locks = locks
        self._first = first
        self._held: dict[int, int] = {}  # descriptor of the lock by range
        self._free: deque[int] = deque()

    def take(self) -> int:
        """A uid that no process uses. Raises JailError when there is none."""
        while True:
            for _ in range(len(self._free)):
                uid = self._free.popleft()
                if not has_processes(uid):
                    return uid
                self._free.append(uid)
            self._reserve_range()

    def give_back(self, uid: int) -> None:
        """Return the uid of an ended jail. Its last processes may still run, so it is reused as late as possible."""
        self._free.append(uid)

    def close(self) -> None:
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()
        self._free.clear()

    def _reserve_range(self) -> None:
        try:
            self._locks.mkdir(mode=0o700, exist_ok=True)
            for number in range(RANGES):
                if number not in self._held and (descriptor := _try_lock(self._locks / str(number))) is not None:
                    self._held[number] = descriptor
                    first = self._first + number * RANGE
                    self._free.extend(range(first, first + RANGE))
                    return
        except OSError as error:
            raise JailError(
                f"uids for jails cannot be reserved: {error}. As root the runner must be able to write {self._locks}"
            ) from error
        raise JailError(f"all {RANGE * RANGES} uids for jails are in use on this host")


def _try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock on `path`; None when another process has the lock."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def has_processes(uid: int) -> bool:
    """Whether a process in this pid namespace has the real uid `uid`: one system call, see getpriority(2)."""
    try:
        os.getpriority(os.PRIO_USER, uid)
    except ProcessLookupError:
        return False
    return True
