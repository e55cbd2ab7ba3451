"""Child processes that cannot outlive us: the launcher's command line, and an orderly stop."""

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
    """`command`, wrapped so that it gets `death_signal` when the thread that starts it ends (Linux).

    So start long-lived children from the main thread. `user` is empty, or one of the launcher's options with
    its value, such as `("--map", "65534:65534")`.
    """
    life = ["--parent", str(os.getpid()), "--death-signal", str(int(death_signal))]
    return [sys.executable, "-I", "-S", _LAUNCHER, *life, *user, "--", *command]


def stop(process: subprocess.Popen[bytes], signal_number: signal.Signals, patience: float) -> None:
    """Ask with `signal_number`, wait for `patience` seconds, then kill. Returns when the process is gone."""
    if process.poll() is None:
        process.send_signal(signal_number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def kill_group(pid: int) -> None:
    """Kill what is left of the process group that `pid` led, its own descendants included."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def command_line(pid: int) -> str:
    """The arguments of a running process, spaces between; empty when there is none such (or a zombie)."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        if sys.platform == "linux":
            return ""
    ps = ["ps", "-o", "command=", "-p", str(pid)]  # POSIX; but a slim Linux image has no ps
    return subprocess.run(ps, capture_output=True, text=True, check=False).stdout


def tail(path: Path, lines: int = 20, since: int = 0) -> str:
    """The last lines of a log, for a failure message; empty when there is none. `since`: a byte offset."""
    try:
        with path.open("rb") as file:
            file.seek(max(since, path.stat().st_size - 16_384))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
