"""Workers killed at any moment: another goes on after the last completed step, in the same browser."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from stack.harness import Stack
from tests.fakes.model import ScriptedModel
from tests.fakes.site import Site
from tests.faults.tasks import errands
from tests.faults.tasks.errands import ANSWER, CREDITS, STEPS, Visits, lay_out
from tests.faults.tasks.workers import Worker, Workers, worker_of
from tests.integration.driving import Database, manage, plain_http, verify_ledger
from tests.integration.tasks.giving import Tasks
from tests.patience import until

pytestmark = [pytest.mark.integration, pytest.mark.alone]

# The specification names ten, which take minutes: `TASK_KILL_SEEDS=10 pytest …`
SEEDS = range(int(os.environ.get("TASK_KILL_SEEDS", "3")))
TASKS = 8


@pytest.fixture(scope="module")
def visits(site: Site, model: ScriptedModel) -> Visits:
    return lay_out(site, model)


@pytest.fixture(scope="module")
def crowd(stack: Stack, model: ScriptedModel, site: Site) -> Iterator[Tasks]:
    """Tasks of the stack's own workspace, which is rich."""
    with plain_http(130, base_url=stack.api_url, headers={"X-API-Key": stack.api_key}) as http:
        yield Tasks(http, model, site)


@pytest.fixture(scope="module")
def agents(crowd: Tasks) -> list[str]:
    """Browsers that live through all runs."""
    return [crowd.post("/v1/agents", {"ttl_seconds": 3600}).json()["id"] for _ in range(TASKS // 2)]


@pytest.fixture(scope="module")
def another(workers: Workers) -> list[Worker]:
    """The worker beside the stack's own. A test that kills it puts a new one here."""
    return [workers.start()]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_worker_killed_at_a_random_moment_costs_no_step_and_no_credit(
    seed: int, crowd: Tasks, agents: list[str], workers: Workers, another: list[Worker], visits: Visits
) -> None:
    """The moment is so many answers of the model, and a little more. Half of the tasks lease browsers of their own."""
    chance = random.Random(seed)  # noqa: S311  a seed, not a secret
    kills_own, answers, more = chance.random() < 0.5, chance.randrange(TASKS * STEPS), chance.uniform(0, 0.5)
    workers.until_there()
    before, credits = asked(crowd), crowd.credits()
    given = {}
    for number in range(TASKS):
        of, where = f"{seed}x{number}", {"agent_id": agents[number]} if number < len(agents) else {}
        given[crowd.give("errand", task=errands.text(of), **where)["id"]] = of
    until(lambda: asked(crowd) >= before + answers, 90, what=f"{answers} answers")
    time.sleep(more)  # the random moment of the seed

    if kills_own:
        workers.kill_own()
    else:
        workers.kill(another[0])
        another[0] = workers.start()

    for job_id, of in given.items():
        assert_done(crowd, crowd.over(job_id), visits.of.get(of))
    assert crowd.credits() == (credits[0] - TASKS * CREDITS, credits[1])


def test_the_books_agree_with_what_happened(stack: Stack, database: Database) -> None:
    """After the runs before."""
    assert manage(stack, "verify_jobs") == "Every job is what its events say.\n"
    verify_ledger(stack)
    assert not database.rows("SELECT job_id FROM jobs_taskrun")


def test_another_worker_goes_on_within_thirty_seconds(
    tasks: Tasks, workers: Workers, database: Database, another: list[Worker], model: ScriptedModel
) -> None:
    """With the lease as it is by default, and a worker that has never done a task."""
    gate = errands.Gate()
    model.play("paused", errands.paused(tasks.site, gate))
    with workers.no_tasks_for(), workers.no_tasks_for(another[0].name):
        holder = workers.start(BROWSA_JOB_CLAIM_SECONDS="15")
        job_id = tasks.give("paused", task=errands.text("slow"))["id"]
        assert worker_of(database, job_id) == holder.pid
        gate.until_reached()
    before = tasks.job(job_id)
    workers.kill(holder)
    killed = time.monotonic()
    model.wait_for(lambda seen: sum(one.script == "paused" and one.step == 3 for one in seen) >= 2, seconds=60)
    took = time.monotonic() - killed
    gate.open()

    job = tasks.over(job_id)

    print(f"resumed after {took:.1f} s")
    assert took < 30
    assert (job["agent_id"], job["live_url"]) == (before["agent_id"], before["live_url"])
    assert_done(tasks, job)


def asked(tasks: Tasks) -> int:
    return sum(one.script == "errand" for one in tasks.model.requests)


def assert_done(tasks: Tasks, job: dict[str, Any], visits: Counter[str] | None = None) -> None:
    """Completed, with every step once, in one browser, and paid for once."""
    assert (job["status"], job["result"] and job["result"]["final_result"]) == ("completed", ANSWER), job
    events = tasks.events(job["id"])
    kinds = Counter(event["type"] for event in events)
    steps = [event["data"] for event in events if event["type"] == "step"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [step["number"] for step in steps] == list(range(1, STEPS + 1))
    assert [step["credits"] for step in steps] == [1, 0, 0, 1]
    assert kinds["attached"] == 1 and kinds["completed"] == 1
    assert kinds["started"] == kinds["requeued"] + 1
    result = job["result"]
    assert result["success"] and result["steps_taken"] == job["step_count"] == job["progress_done"] == STEPS
    assert job["credits_charged"] == CREDITS
    for kind in ("input", "output"):
        assert result["tokens"][kind] == sum(step["tokens"][kind] for step in steps)
    if visits is not None:  # a step that was interrupted may have acted, and nothing else is done twice
        assert set(visits) == {"1", "2", "noted"} and visits["noted"] == 1
        assert visits.total() <= 3 + kinds["requeued"]
