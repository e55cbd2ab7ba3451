"""Exec a command that dies with its parent and, if asked, doesn't look like root to itself.

    python -I -S launch.py --parent PID [--death-signal N] [--map UID:GID | --setuid UID:GID] -- COMMAND…

It runs as a file of its own because both things must happen between fork and exec, and Python code in that
gap (`preexec_fn`) can deadlock when the parent has threads. Only the standard library is imported, so it
costs a few milliseconds. `--map` makes a user namespace in which the caller has another uid: files stay the
caller's own on the outside, nothing is chowned. `--setuid` really becomes that user. Exit status 125:
nothing was run; stderr says why.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

# At the start: another user may not be able to read the directory that Python lies in.
_LIBC = ctypes.CDLL(None, use_errno=True)

CANNOT_LAUNCH = 125
_PR_SET_PDEATHSIG = 1  # prctl(2)
_PR_SET_CHILD_SUBREAPER = 36
_CLONE_NEWUSER = 0x10000000  # unshare(2)


def die_with_parent(parent: int, signal_number: int) -> None:
    """Have the kernel send `signal_number` to this process when the thread that forked it ends. Linux only.

    To be called after every change of uid, which clears the setting. Where the kernel can't (macOS), a killed
    supervisor leaves its children behind, and the next start takes them down.
    """
    if sys.platform != "linux":
        return
    _call("prctl", _PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    if os.getppid() != parent:  # the parent ended before we asked
        os._exit(CANNOT_LAUNCH)


def adopt_orphans() -> bool:
    """Become the parent of every orphan below this process, so that none gets out of sight. False: can't."""
    if sys.platform != "linux":
        return False
    _call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return True


def map_user(uid: int, gid: int) -> None:
    """Enter a new user namespace in which the present user is `uid`:`gid`."""
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    _call("unshare", _CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {outer_uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {outer_gid} 1")


def become_user(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def _call(function: str, *arguments: int) -> None:
    """A C library function that returns 0 for success. Raises OSError."""
    if getattr(_LIBC, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


def main(arguments: list[str]) -> None:
    end = arguments.index("--")
    options = dict(zip(arguments[:end:2], arguments[1:end:2], strict=True))
    command = arguments[end + 1 :]
    try:
        for option, change in (("--map", map_user), ("--setuid", become_user)):
            if option in options:
                uid, gid = options[option].split(":")
                change(int(uid), int(gid))
        if "--death-signal" in options:
            die_with_parent(int(options["--parent"]), int(options["--death-signal"]))
        os.execvp(command[0], command)  # noqa: S606  there is no shell in between, which is the point
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error}\n")
        raise SystemExit(CANNOT_LAUNCH) from error


if __name__ == "__main__":
    main(sys.argv[1:])
