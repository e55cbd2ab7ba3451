"""Run a whole stack during a `with` block, as users run it. The demo, tests and benchmarks use it.

with running_stack(home, env={"BROWSA_POOL_SIZE": "1"}) as stack:
    httpx.get(f"{stack.api_url}/v1/agents", headers={"X-API-Key": stack.api_key})
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from stack.child import ROOT, launched
from stack.home import StackError

# All other settings of Browsa in the environment belong to another stack.
_KEPT = frozenset({"BROWSA_CHROMIUM", "BROWSA_CHROMIUM_SHELL", "BROWSA_JAIL"})
_DROPPED = frozenset(
    {
        *("DATABASE_URL", "REDIS_URL", "EGRESS_COUNTRIES", "EGRESS_ECHO_URL", "SIGNUP_CREDITS", "RENEWAL_GRACE_DAYS"),
        *("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "STRIPE_API_BASE"),
        *("CREDIT_CURRENCY", "CREDIT_PRICE", "CREDIT_PACKS"),
    }
)
_STOP_PATIENCE = 30.0


@dataclass
class Stack:
    """A running stack. `process` is its supervisor, `output` the lines that the supervisor has printed."""

    home: Path
    port: int
    process: subprocess.Popen[str]
    output: list[str] = field(default_factory=list)
    api_key: str = ""

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pids(self) -> dict[str, int]:
        """Pids of the running processes by name: supervisor, postgres, redis, api, worker, beat, runner."""
        with contextlib.suppress(FileNotFoundError):
            pids: dict[str, int] = json.loads((self.home / "pids.json").read_text())
            return pids
        return {}

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    def log(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text(errors="replace")

    def stop(self, signal_number: signal.Signals = signal.SIGINT, patience: float = _STOP_PATIENCE) -> int:
        """Signal the supervisor and wait for it. Returns its exit status. Raises StackError if it had to be killed."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise StackError(f"The stack did not end within {patience:.0f} s:\n{self.printed()}") from None

    def printed(self) -> str:
        return "".join(self.output)


@contextmanager
def running_stack(
    home: Path | str,
    port: int | None = None,
    env: Mapping[str, str] | None = None,
    *,
    patience: float = 120.0,
    show: Callable[[str], object] | None = None,
) -> Iterator[Stack]:
    """Start a stack in `home`, wait until it is ready, and stop it after the block as Ctrl-C does.

    `env` is added to its environment; `show` gets each line that it prints. Call this from the main thread: the
    stack ends with the thread that starts it. Raises StackError.
    """
    port = port or free_port()
    own = {"BROWSA_HOME": str(home), "BROWSA_PORT": str(port)}
    process = subprocess.Popen(
        launched([sys.executable, "-m", "stack", "up"], death_signal=signal.SIGINT),
        cwd=ROOT,
        env=own_environment(os.environ) | dict(env or {}) | own,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    stack = Stack(Path(home).resolve(), port, process)
    lines: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(process, stack.output, lines), daemon=True)
    reader.start()
    try:
        _wait_until_ready(stack, lines, time.monotonic() + patience, show)
        stack.api_key = json.loads((stack.home / "credentials.json").read_text())["api_key"]
        yield stack
    finally:
        try:
            stack.stop()
        finally:
            reader.join(5)
            if process.stdout:
                process.stdout.close()


def own_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without the settings that point at another stack's data, ports or limits."""
    return {
        name: value
        for name, value in environ.items()
        if name in _KEPT or not (name.startswith("BROWSA_") or name in _DROPPED)
    }


def free_port() -> int:
    """A free port, for the API, whose next port is free too, for the gateway.

    Both are below the kernel's ephemeral range, so that no outgoing connection takes them before the stack does.
    """
    for _ in range(200):
        port = 20_000 + 2 * secrets.randbelow(6_000)
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise StackError("There are no two free ports next to each other between 20000 and 32000.")


def _read(process: subprocess.Popen[str], output: list[str], lines: queue.Queue[str | None]) -> None:
    for line in process.stdout or ():
        output.append(line)
        lines.put(line)
    lines.put(None)


def _wait_until_ready(
    stack: Stack, lines: queue.Queue[str | None], until: float, show: Callable[[str], object] | None
) -> None:
    while True:
        try:
            line = lines.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise StackError(f"The stack did not become ready in time{_output_text(stack, show)}") from None
        if line is None:
            raise StackError(f"The stack did not start{_output_text(stack, show)}")
        if show:
            show(line)
        if line.startswith("ready "):
            return


def _output_text(stack: Stack, show: Callable[[str], object] | None) -> str:
    return "; see above." if show else f":\n{stack.printed()}"
