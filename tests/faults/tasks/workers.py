"""More workers beside a stack's own, and ways to break them and what they work with."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from celery import Celery

from browsa.environment import celery_broker
from stack.child import ROOT, launched
from stack.harness import Stack
from tests.integration.driving import Database
from tests.patience import until

OF_THE_STACK = f"celery@{socket.gethostname()}"


@dataclass
class Worker:
    name: str
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid


class Workers:
    """Those that a test has started. They end with the block."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._started: list[Worker] = []
        self._celery = Celery("tests", broker=celery_broker(redis_url(stack)), set_as_current=False, fixups=[])

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exc: object) -> None:
        for worker in self._started:
            self.kill(worker)
        self._celery.close()

    @property
    def own(self) -> int:
        """The stack's own worker, which its supervisor starts again."""
        return self._stack.pids["worker"]

    def start(self, *, program: tuple[str, ...] = ("-m", "celery"), **env: str) -> Worker:
        """Another worker, just like the stack's own but for `env`, once it takes jobs."""
        name = f"more{len(self._started)}"
        command = [*_arguments(self.own), "-n", f"{name}@%h"]
        process = subprocess.Popen(
            launched([sys.executable, *program, *command]),
            cwd=ROOT,
            env=_environment(self.own) | env,
            stdin=subprocess.DEVNULL,
            stdout=(log := (self._stack.logs / f"{name}.log").open("ab")),
            stderr=log,
            start_new_session=True,
        )
        log.close()
        worker = Worker(f"{name}@{socket.gethostname()}", process)
        self._started.append(worker)
        self.until_there(worker.name)
        return worker

    def kill(self, worker: Worker) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.process.wait()

    def kill_own(self) -> None:
        """Returns when there is another."""
        before = self.own
        os.kill(before, signal.SIGKILL)
        until(lambda: self._stack.pids.get("worker", before) != before, 20, what="another worker")

    def until_there(self, name: str = OF_THE_STACK) -> None:
        until(lambda: self._celery.control.ping(destination=[name], timeout=0.5), what=f"worker {name}")

    @contextlib.contextmanager
    def no_tasks_for(self, name: str = OF_THE_STACK) -> Iterator[None]:
        """That worker takes no tasks for the length of the block, but all the rest."""
        self.until_there(name)
        assert self._celery.control.cancel_consumer("tasks", destination=[name], reply=True, timeout=5)
        try:
            yield
        finally:
            self._celery.control.add_consumer("tasks", destination=[name], reply=True, timeout=5)


def _arguments(pid: int) -> list[str]:
    """What follows `-m celery` on a worker's command line."""
    command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
    return command[command.index("celery") + 1 :]


def _environment(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().rstrip("\0").split("\0")
    return dict(pair.split("=", 1) for pair in pairs)


def redis_url(stack: Stack) -> str:
    url: str = json.loads((stack.home / "stack.json").read_text())["REDIS_URL"]
    return url


def empty_redis(stack: Stack) -> None:
    with contextlib.closing(redis.Redis.from_url(redis_url(stack))) as client:
        client.flushall()


def worker_of(database: Database, job_id: str) -> int:
    """The process that works on a job, once one does."""

    def owner() -> int:
        (row,) = database.rows("SELECT owner FROM jobs_job WHERE id = %s", job_id)
        return int(row["owner"].split(":")[1]) if row["owner"] else 0

    return until(owner, what="a worker for the task")


def rows_of(database: Database, job_ids: list[str]) -> list[dict[str, Any]]:
    return database.rows("SELECT * FROM jobs_job WHERE id = ANY(%s::uuid[])", job_ids)
