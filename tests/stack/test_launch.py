"""The launcher, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stack.child import command_line, launched
from tests.patience import PATIENCE

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs prctl and user namespaces of Linux")

# Starts a launched child, prints its pid, and waits to be killed.
PARENT = """
import subprocess, sys, time
from stack.child import launched
child = subprocess.Popen(launched([sys.executable, "-c", sys.argv[1]]), stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""
CHILD = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"


def can_map() -> bool:
    done = subprocess.run(launched(["true"], user=("--map", "65534:65534")), capture_output=True, check=False)
    return done.returncode == 0


@linux_only
def test_a_child_dies_with_a_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        ending = os.pidfd_open(child)
        parent.kill()

        # poll(2) on a pidfd returns when the process has ended
        import select

        assert select.select([ending], [], [], PATIENCE)[0]
        os.close(ending)
    assert command_line(child) == ""


@linux_only
@pytest.mark.skipif(not can_map(), reason="this system allows no user namespaces")
def test_a_mapped_command_has_another_uid_but_its_files_belong_to_the_caller(tmp_path: Path) -> None:
    script = f"import os; print(os.getuid()); open({str(tmp_path / 'made')!r}, 'w')"

    done = subprocess.run(
        launched([sys.executable, "-c", script], user=("--map", "65534:65534")),
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "65534\n"
    assert (tmp_path / "made").stat().st_uid == os.geteuid()


def test_a_command_that_cannot_be_started_is_status_125_and_a_reason() -> None:
    done = subprocess.run(launched(["/no/such/program"]), capture_output=True, text=True, check=False)

    assert done.returncode == 125
    assert "/no/such/program" in done.stderr


def test_the_command_keeps_the_pid_and_the_signals_of_a_plain_child() -> None:
    with subprocess.Popen(launched(["sleep", "600"])) as process:
        process.send_signal(signal.SIGTERM)

        assert process.wait(PATIENCE) == -signal.SIGTERM
