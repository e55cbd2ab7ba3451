"""After many tasks there is as much of everything as after some: nothing is left behind by one."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from stack.harness import Stack
from tests.fakes.model import Done, ScriptedModel
from tests.fakes.site import Site
from tests.faults.tasks import errands, searching
from tests.faults.tasks.errands import Gate
from tests.faults.tasks.workers import Worker, Workers
from tests.integration.driving import Database, chromium_of, gateway_connections, leases, plain_http, pool_is_whole
from tests.integration.tasks.giving import Tasks
from tests.patience import until

pytestmark = [pytest.mark.integration, pytest.mark.alone, pytest.mark.timeout(900)]

# After so many everything is there that comes with the first tasks: threads, connections, caches.
SETTLED = int(os.environ.get("TASKS_UNTIL_SETTLED", "12"))
# The specification's 200 take minutes: `TASKS_UNTIL_SETTLED=40 TASKS_IN_ALL=200 pytest …`
IN_ALL = int(os.environ.get("TASKS_IN_ALL", "36"))
AT_ONCE = 6


@dataclass
class Holdings:
    """What a worker, the runner, Redis, the database and the disk hold when nothing runs."""

    asyncio: Counter[str]
    objects: dict[str, int]
    temporary: set[str]
    config: int
    leases: set[str]
    gateway: int
    redis: set[bytes]
    rows: int
    # These have bounds by how much is done at once, and come near them little by little.
    loggers: int = field(compare=False)
    sockets: int = field(compare=False)
    files: int = field(compare=False)
    threads: int = field(compare=False)
    rss_mb: float = field(compare=False)
    everything: Counter[str] = field(compare=False, repr=False)


class Watch:
    """Looks at a worker that is watched from inside."""

    def __init__(self, stack: Stack, worker: Worker, report: Path, scratch: Path) -> None:
        self._stack, self._worker, self._report, self._scratch = stack, worker, report, scratch

    def holdings(self) -> Holdings:
        """Once every lease is over."""
        until(lambda: not leases(self._stack) and pool_is_whole(self._stack), what="a whole pool")
        told = self._told()
        links = self._links()
        return Holdings(
            asyncio=Counter(told["asyncio"]),
            objects=told["objects"],
            loggers=told["loggers"],
            temporary={path.name for path in self._scratch.glob("brows*-*") if not _of_the_runner(path)},
            config=len(list((self._scratch / "config").rglob("*"))),
            leases=leases(self._stack),
            gateway=gateway_connections(self._stack),
            redis={name for name in searching.redis_keys(self._stack) if b"llm" in name or b"job" in name},
            rows=len(Database(self._stack).rows("SELECT 1 FROM jobs_taskrun")),
            sockets=sum(link.startswith("socket:") for link in links),
            files=sum(not link.startswith("socket:") for link in links),
            threads=len(told["threads"]),
            everything=Counter(told["everything"]),
            rss_mb=self._rss(),
        )

    def where(self) -> list[str]:
        """What everything in the worker waits for."""
        lines: list[str] = self._told()["where"]
        return lines

    def _told(self) -> dict[str, Any]:
        self._report.unlink(missing_ok=True)
        os.kill(self._worker.pid, signal.SIGUSR2)
        until(self._report.exists, what="the worker's report")
        told: dict[str, Any] = json.loads(self._report.read_text())
        return told

    def _links(self) -> list[str]:
        found = []
        for entry in Path(f"/proc/{self._worker.pid}/fd").iterdir():
            found.append(os.readlink(entry))
        return found

    def _rss(self) -> float:
        pages = int(Path(f"/proc/{self._worker.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _of_the_runner(path: Path) -> bool:
    """Its folder of Chromium profiles."""
    return not path.name.startswith(("browsa-task-", "browser-use", "browseruse"))


def freeze(stack: Stack, tasks: Tasks, gate: Gate) -> dict[str, Any]:
    """A task whose browser stands still from just before its last step."""
    tasks.model.play("frozen", [errands.walk(tasks.site, "1"), lambda prompt: gate.pass_through() or Done("Here.")])
    job_id = tasks.give("frozen", task=errands.text("frozen"))["id"]
    gate.until_reached()
    os.kill(chromium_of(stack, tasks.agent(tasks.job(job_id)["agent_id"])), signal.SIGSTOP)
    gate.open()
    return tasks.over(job_id)


def test_many_tasks_leave_nothing_behind(
    stack: Stack, workers: Workers, site: Site, model: ScriptedModel, scratch: Path, tmp_path: Path
) -> None:
    model.play("brief", [Done("Hello.")])
    report = tmp_path / "report.json"
    worker = workers.start(program=("-m", "tests.faults.tasks.watched"), WATCHED_REPORT=str(report))
    watch = Watch(stack, worker, report, scratch)
    with (
        workers.no_tasks_for(),
        plain_http(130, base_url=stack.api_url, headers={"X-API-Key": stack.api_key}) as http,
        ThreadPoolExecutor(AT_ONCE) as threads,
    ):
        tasks = Tasks(http, model, site)

        def do(count: int) -> float:
            begun = time.monotonic()
            try:
                jobs = list(threads.map(lambda _: tasks.done("brief"), range(count)))
            except AssertionError as error:
                raise AssertionError("\n".join(watch.where())) from error
            assert {job["status"] for job in jobs} == {"completed"}, jobs
            return time.monotonic() - begun

        first = do(SETTLED)
        before = watch.holdings()
        assert freeze(stack, tasks, Gate())["status"] == "completed"
        rest = do(IN_ALL - SETTLED)
        after = watch.holdings()
    print(f"\n{SETTLED} tasks in {first:.1f} s, {IN_ALL - SETTLED} more in {rest:.1f} s\n{before}\n{after}")
    more = after.everything - before.everything
    print(f"{before.everything.total()} objects, and {after.everything.total()}: {more.most_common(12)}")
    assert after == before
    assert after.leases == after.redis == set() and (after.gateway, after.rows) == (0, 0)
    assert set(after.objects.values()) == {0}
    assert after.temporary == set()
    for name in ("loggers", "sockets", "files", "threads"):
        assert getattr(after, name) <= getattr(before, name) + AT_ONCE, name
    assert after.everything.total() < before.everything.total() * 1.05
    assert after.rss_mb < before.rss_mb + 40
