"""Exec a command that ends with its parent. Options run it under another uid.

    python -I -S launch.py --parent PID [--death-signal N] [--map UID:GID | --setuid UID:GID] -- COMMAND…

It is a separate program because both must happen between fork and exec, and Python code there (`preexec_fn`)
can deadlock when the parent has threads. Only the standard library is imported, so it takes a few
milliseconds. `--map` makes a user namespace in which the caller has another uid; outside of it, files still
belong to the caller. `--setuid` changes to that user. Exit status 125: the command was not started; stderr has
the reason.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

# Loaded before the uid changes: another user may not be able to read Python's directory.
_LIBC = ctypes.CDLL(None, use_errno=True)

CANNOT_LAUNCH = 125
_PR_SET_PDEATHSIG = 1  # prctl(2)
_PR_SET_CHILD_SUBREAPER = 36
_CLONE_NEWUSER = 0x10000000  # unshare(2)


def die_with_parent(parent: int, signal_number: int) -> None:
    """Have the kernel send `signal_number` to this process when the thread that forked it ends. Linux only.

    Call it after every change of uid, which clears the setting. On macOS, which has no such signal, a killed
    supervisor leaves its children running, and the next start ends them.
    """
    if sys.platform != "linux":
        return
    _call("prctl", _PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    if os.getppid() != parent:  # the parent ended before the call
        os._exit(CANNOT_LAUNCH)


def adopt_orphans() -> bool:
    """Become the parent of every orphan below this process. Returns False where that is impossible."""
    if sys.platform != "linux":
        return False
    _call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return True


def map_user(uid: int, gid: int) -> None:
    """Enter a new user namespace in which the current user is `uid`:`gid`."""
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
    """Call a C library function that returns 0 on success. Raises OSError."""
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
        os.execvp(command[0], command)  # noqa: S606  no shell on purpose
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error}\n")
        raise SystemExit(CANNOT_LAUNCH) from error


if __name__ == "__main__":
    main(sys.argv[1:])
