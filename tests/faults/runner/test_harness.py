"""What a test starts ends with the process that runs the test."""

from __future__ import annotations

import os
import select
import subprocess
import sys

import pytest

from stack.child import ROOT, command_line
from tests.patience import PATIENCE, until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="needs the parent-death signal of Linux"),
]

TEST_PROCESS = """
import time
from tests.runner.harness import RunnerProcess
runner = RunnerProcess(BROWSA_POOL_SIZE="0").start()
print(runner.pid, flush=True)
time.sleep(600)
"""


def test_a_runner_ends_when_the_process_of_its_test_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TEST_PROCESS], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as test_process:
        assert test_process.stdout
        runner = int(test_process.stdout.readline())
        until(lambda: command_line(runner).split() == [sys.executable, "-m", "runner"])  # no longer the launcher
        ending = os.pidfd_open(runner)

        test_process.kill()

        assert select.select([ending], [], [], PATIENCE)[0], "the runner is still there"
        os.close(ending)
