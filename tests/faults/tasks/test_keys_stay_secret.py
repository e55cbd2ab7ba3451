"""A caller's LLM key is used, and appears nowhere: not in stored data, messages or logs, not in any answer."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stack.harness import Stack
from tests.fakes.model import (
    Always,
    AskHuman,
    BadRequest,
    Done,
    Extract,
    Failing,
    Garbage,
    Hang,
    HangUp,
    Malformed,
    Unauthorized,
)
from tests.fakes.receivers import Receiver
from tests.faults.agents.stack_faults import stopped
from tests.faults.tasks import errands, searching
from tests.faults.tasks.errands import Gate
from tests.faults.tasks.searching import Lurker, Monitor
from tests.faults.tasks.workers import Workers, empty_redis
from tests.integration.driving import chromium_of, chromiums, gateway_connections, manage, visit
from tests.integration.tasks.giving import Tasks
from tests.patience import until

pytestmark = [pytest.mark.integration, pytest.mark.alone]

# With what base64, URLs and JSON each write in their own way.
KEY = 'sk-canary-Zq7/9+Xw"b3=Lm5&Tt8~Rr2'
# What must be found, or the search is worth nothing.
MARK = "a-word-that-is-no-secret"


@pytest.mark.parametrize("form", sorted(searching.disguises(KEY)))
def test_the_search_sees_through_disguises(form: bytes) -> None:
    assert searching.holds(b"before" + form + b"after", KEY)


def test_the_search_sees_through_base64_around_it() -> None:
    import base64

    for before in range(4):
        message = base64.b64encode(b"x" * before + KEY.encode() + b"yz")
        assert searching.holds(message, KEY) and not searching.holds(message, KEY[::-1])


class Story:
    """Tasks with the key that end in every way."""

    def __init__(self, tasks: Tasks, stack: Stack, workers: Workers, check: Callable[[str], None]) -> None:
        self._tasks, self._stack, self._workers, self._check = tasks, stack, workers, check
        self.jobs: list[str] = []

    def tell(self) -> None:
        for part in (self._refused, self._troubled, self._parroted, self._crashed, self._orphaned, self._waiting):
            begun = time.monotonic()
            part()
            print(f"{part.__name__}: {time.monotonic() - begun:.1f} s")

    def _give(self, script: str, **fields: Any) -> str:
        text = f"{errands.text(script)} {MARK}"
        job_id: str = self._tasks.give(script, task=text, llm_api_key=KEY, **fields)["id"]
        self.jobs.append(job_id)
        return job_id

    def _end(self, job_id: str, how: str) -> dict[str, Any]:
        job = self._tasks.over(job_id)
        assert (job["error_code"] or job["status"]) == how, job
        return job

    def _play(self, script: str, *steps: Any) -> None:
        self._tasks.model.play(script, steps)

    def _refused(self) -> None:
        """The provider repeats the key: at once, after a step, to what an action asks, and to a bad request."""
        echo = Always(Unauthorized(echo=True))
        self._play("refused", echo)
        self._play("refusedlater", errands.walk(self._tasks.site, "1"), echo)
        self._play("refusedinside", errands.walk(self._tasks.site, "1"), Extract("the trail", echo), Done("No."))
        self._play("toolong", Always(BadRequest(f"The key {KEY} is wrong.")))
        openai = f"{self._tasks.model.base_url}/v1"
        given = [
            self._give("refused"),
            self._give("refused", llm="openai:gpt-refused", llm_base_url=openai),
            self._give("refusedlater"),
            self._give("refusedinside"),
            self._give("refusedinside", llm="openai:gpt-refusedinside", llm_base_url=openai),
        ]
        wrong = self._give("toolong")
        for job_id in given:
            assert "[the key]" in self._end(job_id, "INVALID_API_KEY")["error_message"]
        assert "[the key]" in self._end(wrong, "LLM_ERROR")["error_message"]

    def _troubled(self) -> None:
        self._play("hangs", errands.walk(self._tasks.site, "1"), Always(Hang()))
        self._play("broken", Always(Malformed()))
        self._play("rude", Failing(HangUp(), then=Done("After all.")))
        hanging, broken, rude = self._give("hangs", wallclock_seconds=12), self._give("broken"), self._give("rude")
        nowhere = self._give("rude", llm_base_url="http://unknown.invalid")
        self._end(rude, "completed")
        self._end(broken, "LLM_ERROR")
        self._end(hanging, "TIMEOUT")
        self._end(nowhere, "LLM_ERROR")

    def _parroted(self) -> None:
        """The model says it."""
        self._play("nonsense", Always(Garbage(f"Your key is {KEY}.")))
        self._play("parrot", Extract("the key", f"It is {KEY}", goal=f"Say {KEY}."), Done(f"Your key: {KEY}."))
        given = self._give("nonsense"), self._give("parrot", initial_url=self._tasks.site.url("/hello"))
        self._end(given[0], "LLM_ERROR")
        assert self._end(given[1], "completed")["result"]["final_result"] == "Your key: [the key]."

    def _crashed(self) -> None:
        """The worker is killed; then a browser is."""
        gate, second = Gate(), Gate()
        self._play("killed", errands.walk(self._tasks.site, "1"), lambda prompt: gate.pass_through() or Done("Here."))
        self._play("dead", errands.walk(self._tasks.site, "1"), lambda prompt: second.pass_through() or Done("Here."))
        killed, dead = self._give("killed"), self._give("dead")
        gate.until_reached()
        second.until_reached()
        self._check("while tasks run")
        agent = self._tasks.agent(self._tasks.job(dead)["agent_id"])
        os.kill(chromium_of(self._stack, agent), signal.SIGKILL)
        self._end(dead, "INTERNAL_ERROR")
        self._workers.kill_own()
        self._check("after a worker was killed")
        gate.open()
        second.open()
        self._end(killed, "completed")

    def _orphaned(self) -> None:
        """The provider repeats the key to a task whose browser has just died, before the task has noticed."""
        gate = Gate()
        self._play(
            "orphan",
            errands.walk(self._tasks.site, "1"),
            lambda prompt: gate.pass_through() or Unauthorized(echo=True),
        )
        job_id = self._give("orphan")
        gate.until_reached()
        browser = chromium_of(self._stack, self._tasks.agent(self._tasks.job(job_id)["agent_id"]))
        notice = "a task lost its browser"
        lost = self._stack.log("worker").count(notice)
        with stopped(self._stack.pids["api"]):
            os.kill(browser, signal.SIGKILL)
            until(lambda: browser not in chromiums(self._stack), what="the end of the browser")
            until(lambda: not gateway_connections(self._stack), what="the end of the task's connection to it")
            gate.open()
            until(lambda: self._stack.log("worker").count(notice) > lost, what="the task's notice of it")
        self._end(job_id, "INTERNAL_ERROR")

    def _waiting(self) -> None:
        self._play("asks", AskHuman(f"Is it {KEY}?"), Done("Thanks."))
        answered, cancelled, forgotten = (self._give("asks") for _ in range(3))
        for job_id in (answered, cancelled, forgotten):
            asking = self._tasks.until(job_id, "input_required")
            assert asking["input_request"]["question"] == "Is it [the key]?"
        sealed = {f"browsa:llm-key:{job_id}".encode() for job_id in (answered, cancelled, forgotten)}
        assert sealed <= searching.redis_keys(self._stack).keys()
        self._check("while tasks wait")
        self._tasks.post(f"/v1/jobs/{answered}/respond", {"response": "Yes"})
        self._tasks.post(f"/v1/jobs/{cancelled}/cancel")
        self._end(answered, "completed")
        assert not [name for name in searching.redis_keys(self._stack) if name.endswith(answered.encode())]
        empty_redis(self._stack)
        self._tasks.post(f"/v1/jobs/{forgotten}/respond", {"response": "Yes"})
        self._end(forgotten, "INTERNAL_ERROR")


def test_a_key_is_nowhere_to_be_found(
    tasks: Tasks, stack: Stack, workers: Workers, shop: Receiver, scratch: Path, tmp_path: Path
) -> None:
    places: dict[str, bytes] = {}
    assert tasks.post("/v1/webhooks", {"url": shop.url()}).status_code == 201

    def look(when: str) -> None:
        places[f"the database {when}"] = searching.database(stack)
        for name, value in searching.redis_keys(stack).items():
            places[f"Redis {when}: {name!r}"] = name + value
        for name, content in (*searching.files(scratch), *searching.files(stack.home)):
            if searching.holds(content, KEY):
                places[f"{name} {when}"] = content
        places[f"processes {when}"] = searching.processes(stack)

    with Monitor(stack) as monitor, Lurker(scratch, KEY) as lurker:
        refused = [
            tasks.post("/v1/tasks", {"task": "x", "llm_api_key": wrong, "llm": "no such model!"})
            for wrong in (KEY, [KEY], {KEY: KEY}, KEY * 100)
        ]
        story = Story(tasks, stack, workers, look)
        story.tell()
        ended = len(story.jobs) - 1  # a cancellation has no event
        until(lambda: sum(b'"job.' in got.body and b"input_required" not in got.body for got in shop.got) >= ended, 30)
    look("at the end")

    paths = [f"/v1/jobs/{job_id}{more}" for job_id in story.jobs for more in ("", "/events?limit=200", "/result")]
    paths += ["/v1/jobs?limit=100", "/v1/agents", "/v1/credits/ledger?limit=200", "/v1/webhooks"]
    for path in paths:
        places[path] = tasks.get(path).content
    places["refusals"] = b"".join(answer.content for answer in refused)
    places["metrics"] = visit(stack.api_url + "/metrics").content
    places["admin pages"] = searching.admin_pages(stack)
    places["webhooks"] = b"".join(got.body for got in shop.got)
    places["what Redis was told"] = bytes(monitor.heard)
    places["what the supervisor printed"] = stack.printed().encode()

    assert [name for name, content in places.items() if searching.holds(content, KEY)] == []
    assert lurker.found == set()
    assert {seen.api_key for seen in tasks.model.requests} == {KEY}
    parrots = ("nonsense", "parrot", "asks")
    assert KEY not in json.dumps([seen.prompt for seen in tasks.model.requests if seen.script not in parrots])
    # And it was looked for where things are.
    assert MARK.encode() in places["the database at the end"] and lurker.read
    assert b"jobs.run" in monitor.heard and story.jobs[0].encode() in places["admin pages"]
    assert all(job_id.encode() in places["webhooks"] for job_id in story.jobs[:3])
    assert not [name for name in searching.redis_keys(stack) if b"llm-key" in name]
    assert {answer.status_code for answer in refused} == {400}
    assert manage(stack, "verify_jobs") == "Every job is what its events say.\n"
