"""The time of a task's step compared with browser-use alone, a task's memory, and twenty tasks at once."""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import datetime
from typing import Any

import psutil

from bench.subject import Subject
from bench.table import Row, median
from tests.fakes.model import Click, Done, Extract, Navigate, ScriptedModel, Type, Wait

ROUNDS = 7
STEPS = 5
AT_ONCE = 20
WAITING = 8
MIB = 2**20

_KEY = "sk-bench"


async def measure(subject: Subject, model: ScriptedModel, site: str) -> list[Row]:
    model.play(
        "bench",
        [Navigate(f"{site}/form"), Type("Name", "Ada"), Click("Go"), Extract("who", "Ada"), Done("Ada is here.")],
    )
    await _task(subject, model, "bench")  # the worker loads browser-use for its first task
    alone = await Alone.start(model)
    ours, theirs = [], []
    await alone.seconds(subject)
    for _ in range(ROUNDS):
        ours.append(await _ours(subject, model) / STEPS * 1000)
        theirs.append(await alone.seconds(subject) / STEPS * 1000)
    await alone.end()
    name = f"a step of a task of {STEPS} steps"
    return [
        Row(name, median(ours), "ms", median(theirs), "browser-use alone", 1.15, of_ratio=True),
        await _memory(subject, model),
        await _many(subject, model),
    ]


async def _task(subject: Subject, model: ScriptedModel, script: str) -> dict[str, Any]:
    """Run a task to its end. Returns the job."""
    job = await _start(subject, model, script)
    return await _wait_for_end(subject, job)


async def _start(subject: Subject, model: ScriptedModel, script: str) -> str:
    body = {
        "task": "Play the script.",
        "llm": f"anthropic:claude-{script}",
        "llm_api_key": _KEY,
        "llm_base_url": model.base_url,
        "max_steps": 8,
    }
    answer = await subject.client.post("/v1/tasks", json=body)
    answer.raise_for_status()
    return str(answer.json()["id"])


async def _wait_for_end(subject: Subject, job_id: str) -> dict[str, Any]:
    while True:
        job: dict[str, Any] = (await subject.client.get(f"/v1/jobs/{job_id}?wait=50")).json()
        if job["completed_at"]:
            return job


async def _ours(subject: Subject, model: ScriptedModel) -> float:
    """Seconds from the time when a task has its browser until its end."""
    await subject.warm()
    job = await _task(subject, model, "bench")
    assert job["status"] == "completed", job
    events = (await subject.client.get(f"/v1/jobs/{job['id']}/events")).json()["events"]
    at = {event["type"]: datetime.fromisoformat(event["created_at"]) for event in events}
    return (at["completed"] - at["attached"]).total_seconds()


class Alone:
    """browser-use in a separate process (`bench.alone`)."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, model: ScriptedModel) -> Alone:
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-m", "bench.alone", model.base_url)
        return cls(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe))

    async def seconds(self, subject: Subject) -> float:
        """Seconds that it takes for the same steps in the same kind of browser."""
        assert self._process.stdin is not None and self._process.stdout is not None
        await subject.warm()
        async with subject.agent() as agent:
            self._process.stdin.write(f"{agent.cdp_url}\n".encode())
            return float(await self._process.stdout.readline())

    async def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


async def _memory(subject: Subject, model: ScriptedModel) -> Row:
    """The worker's growth per task while several tasks have a page open."""
    model.play("wait", [Wait(1), Wait(30), Done("Enough.")])
    worker = psutil.Process(subject.stack.pids["worker"])
    before = worker.memory_full_info().pss
    jobs = [await _start(subject, model, "wait") for _ in range(WAITING)]
    for job in jobs:
        while (await subject.client.get(f"/v1/jobs/{job}/status")).json()["progress_done"] < 1:
            await asyncio.sleep(0.1)
    grown = (worker.memory_full_info().pss - before) / MIB
    for job in jobs:
        await subject.client.post(f"/v1/jobs/{job}/cancel")
        await _wait_for_end(subject, job)
    return Row(f"memory (PSS) of the worker for each of {WAITING} tasks at once", grown / WAITING, "MiB")


async def _many(subject: Subject, model: ScriptedModel) -> Row:
    await subject.warm()
    began = time.monotonic()
    jobs = [await _start(subject, model, "bench") for _ in range(AT_ONCE)]
    ends = await asyncio.gather(*[_wait_for_end(subject, job) for job in jobs])
    took = time.monotonic() - began
    completed = sum(end["status"] == "completed" and end["step_count"] == STEPS for end in ends)
    name = f"of {AT_ONCE} tasks at once, completed (in {took:.0f} s)"
    return Row(name, completed, "tasks", target=AT_ONCE, at_least=True)
