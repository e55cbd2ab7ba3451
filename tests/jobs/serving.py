"""An API process, as `make up` starts it, on the tests' database."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from stack.child import launched, stop
from stack.harness import free_port
from tests.patience import PATIENCE
from tests.processes import environment


@dataclass(frozen=True)
class Api:
    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def api_process(home: Path) -> Iterator[Api]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "browsa.asgi:application", "--port", str(port), "--lifespan", "off"]
    command += ["--loop", "uvloop", "--http", "browsa.protocol:Protocol", "--ws", "none", "--no-access-log"]
    command += ["--log-level", "warning", "--timeout-graceful-shutdown", "1"]
    with (home / "api.log").open("wb") as log:
        process = subprocess.Popen(launched(command), env=environment(home), stdout=log, stderr=log)
    try:
        _wait_for(port, process, home / "api.log")
        yield Api(port, process.pid)
    finally:
        stop(process, signal.SIGTERM, 10)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"the API did not start:\n{log.read_text()[-3000:]}")
