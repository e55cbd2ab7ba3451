"""Run both embedded servers during a `with` block, for tests, scripts and benchmarks.

with embedded_servers(home) as urls:
    connect(urls.database), connect(urls.redis)
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from stack import child, postgres
from stack import redis as redis_server
from stack.home import Home, StackError, locate, opened

_START_PATIENCE = 60.0  # a database that was killed replays its log before it is ready
_STOP_PATIENCE = 15.0


@dataclass(frozen=True)
class Urls:
    database: str
    redis: str


@contextmanager
def embedded_servers(path: Path | str, *, durable: bool = True) -> Iterator[Urls]:
    """Start PostgreSQL and Redis of the home at `path`, wait until they accept connections, and stop them at the end.

    Call it from the main thread: the servers end with the thread that starts them. `durable=False` turns fsync
    off, for temporary databases. Raises StackError.
    """
    home = locate(path)
    with opened(home), ExitStack() as running:
        database = postgres.Postgres(home, postgres.choose_os_user(home), durable)
        broker = redis_server.Redis(home)
        # Redis starts while initdb runs
        broker_process = running.enter_context(_server(home, "redis", broker.command(), redis_server.STOP_SIGNAL))
        database.prepare()
        database_process = running.enter_context(_server(home, "postgres", database.command(), postgres.STOP_SIGNAL))
        _wait(home, "postgres", database_process, database.ready)
        _wait(home, "redis", broker_process, broker.ready)
        yield Urls(database.url, broker.url)


@contextmanager
def _server(
    home: Home, name: str, command: list[str], stop_signal: signal.Signals
) -> Iterator[subprocess.Popen[bytes]]:
    home.logs.mkdir(exist_ok=True)
    with (home.logs / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        child.stop(process, stop_signal, _STOP_PATIENCE)


def _wait(home: Home, name: str, process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
    until = time.monotonic() + _START_PATIENCE
    while not ready():
        if process.poll() is not None or time.monotonic() > until:
            log = child.tail(home.logs / f"{name}.log")
            raise StackError(f"{name} did not start. The end of its log:\n{log}")
        time.sleep(0.01)
