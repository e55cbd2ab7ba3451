"""One supervised process. Small real programs stand for the services."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from stack.services import Service, StopMode
from stack.supervised import Supervised
from tests.patience import PATIENCE

STOP = ((signal.SIGTERM, 10.0),)


def service(script: str, **changes: object) -> Service:
    fields = {"stage": 1, "drain": STOP, "now": STOP, "environment": dict(os.environ), **changes}
    return Service("program", (sys.executable, "-c", script), **fields)  # type: ignore[arg-type]


def supervised(one: Service, logs: Path, said: list[str] | None = None) -> Supervised:
    said = said if said is not None else []
    return Supervised(one, logs, said.append, said.append, lambda: None)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_process_that_is_killed_comes_back_with_another_pid(tmp_path: Path) -> None:
    said: list[str] = []
    child = supervised(service("import time; time.sleep(600)"), tmp_path, said)
    child.start()
    await until(lambda: child.pid)
    first = child.pid
    assert first

    os.kill(first, signal.SIGKILL)

    await until(lambda: child.pid and child.pid != first)
    assert said == ["program ended (killed by SIGKILL); starting it again in 0.2 s"]
    await child.stop(StopMode.NOW)
    assert child.pid is None


async def test_a_process_that_ignores_every_signal_is_killed(tmp_path: Path) -> None:
    ignoring = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    child = supervised(service(ignoring, drain=((signal.SIGTERM, 0.2),)), tmp_path)
    child.start()
    await until(lambda: (tmp_path / "program.log").read_text())

    await child.stop(StopMode.DRAIN)

    assert (child.pid, child.last_exit) == (None, "killed by SIGKILL")


async def test_a_stopped_process_is_not_started_again(tmp_path: Path) -> None:
    child = supervised(service("raise SystemExit(3)"), tmp_path)
    child.start()
    await until(lambda: child.failures >= 1)

    await child.stop(StopMode.NOW)

    assert child.last_exit == "exit status 3"
    assert child.pid is None


async def test_output_goes_to_the_log_and_errors_are_shown(tmp_path: Path) -> None:
    said: list[str] = []
    script = "import time; print('hello', flush=True); print('ERROR no memory', flush=True); time.sleep(600)"
    child = supervised(service(script), tmp_path, said)
    child.start()

    await until(lambda: said)
    await child.stop(StopMode.NOW)

    assert said == ["program: ERROR no memory"]
    assert (tmp_path / "program.log").read_text() == "hello\nERROR no memory\n"
    assert child.last_output == "hello\nERROR no memory"


async def test_a_failed_preparation_counts_as_a_failure(tmp_path: Path) -> None:
    def no_disk() -> None:
        raise OSError("No space left on device")

    child = supervised(service("", before=no_disk), tmp_path)
    child.start()

    await until(lambda: child.failures >= 2)

    assert child.last_exit == "No space left on device"
    await child.stop(StopMode.NOW)


async def test_a_grandchild_that_holds_the_output_open_does_not_delay_the_stop(
    tmp_path: Path,
) -> None:
    script = (
        "import subprocess, sys; print(subprocess.Popen(['sleep', '600']).pid, flush=True); sys.stdin.read(); "
        "import time; time.sleep(600)"
    )
    child = supervised(service(script), tmp_path)
    child.start()
    await until(lambda: (tmp_path / "program.log").read_text())

    async with asyncio.timeout(PATIENCE):
        await child.stop(StopMode.NOW)
