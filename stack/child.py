"""Child processes that end with their parent: the launcher's command line, and stopping with a time limit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_LAUNCHER = str(Path(__file__).with_name("launch.py"))


def launched(
    command: Sequence[str],
    *,
    user: Sequence[str] = (),
    death_signal: signal.Signals = signal.SIGKILL,
) -> list[str]:
    """The command line that runs `command` under the launcher.

    On Linux the child gets `death_signal` when the thread that started it ends, so start long-lived children from
    the main thread. `user` is empty, or one of the launcher's options with its value, such as
    `("--map", "65534:65534")`.
    """
    life = ["--parent", str(os.getpid()), "--death-signal", str(int(death_signal))]
    return [sys.executable, "-I", "-S", _LAUNCHER, *life, *user, "--", *command]


def stop(process: subprocess.Popen[bytes], signal_number: signal.Signals, patience: float) -> None:
    """Send `signal_number`, wait `patience` seconds, then kill. Returns when the process has ended."""
    if process.poll() is None:
        process.send_signal(signal_number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def kill_group(pid: int) -> None:
    """Kill all remaining processes of the group that `pid` led."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def command_line(pid: int) -> str:
    """The arguments of a running process, joined by spaces. Empty for a zombie or when there is no such process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        if sys.platform == "linux":
            return ""
    ps = ["ps", "-o", "command=", "-p", str(pid)]  # POSIX; a slim Linux image has no ps
    return subprocess.run(ps, capture_output=True, text=True, check=False).stdout


def tail(path: Path, lines: int = 20, since: int = 0) -> str:
    """The last lines of a log from byte `since` on, for a failure message. Empty when there is no log."""
    try:
        with path.open("rb") as file:
            file.seek(max(since, path.stat().st_size - 16_384))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
