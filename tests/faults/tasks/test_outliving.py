"""What a task outlives: the end of its worker, an emptied Redis, the death of its browser. And what it doesn't."""

from __future__ import annotations

import os
import re
import signal
from typing import Any

import pytest

from stack.harness import Stack
from tests.fakes.model import AskHuman, Done, Navigate, Step, Wait
from tests.faults.tasks import errands
from tests.faults.tasks.errands import SIGNUP, Gate
from tests.faults.tasks.workers import Workers, empty_redis, worker_of
from tests.integration.driving import Database, chromium_of, leases, manage, verify_ledger
from tests.integration.tasks.giving import Tasks
from tests.patience import until

pytestmark = [pytest.mark.integration, pytest.mark.alone]


def kinds(tasks: Tasks, job_id: str) -> list[str]:
    return [event["type"] for event in tasks.events(job_id)]


def asking(tasks: Tasks) -> dict[str, Any]:
    """A task that was on one page and waits for a human."""

    def told(prompt: str) -> Done:
        answered = re.search(r"The human answered: (\w+)", prompt)
        return Done(f"{answered[1] if answered else '?'} {errands.trail(prompt)}")

    tasks.model.play("asking", [errands.walk(tasks.site, "1"), AskHuman("Which?"), told])
    job = tasks.give("asking", task=errands.text("asking"))
    return tasks.until(job["id"], "input_required")


def gated(tasks: Tasks, script: str, gate: Gate, *before: Step) -> str:
    """A task whose model, after the steps `before`, has been asked and does not answer yet."""

    def done(prompt: str) -> Done:
        gate.pass_through()
        return Done(f"Here: {errands.trail(prompt)}.")

    tasks.model.play(script, [*before, done])
    job_id: str = tasks.give(script, task=errands.text(script))["id"]
    gate.until_reached()
    return job_id


def kill_browser(stack: Stack, tasks: Tasks, job_id: str) -> str:
    """SIGKILL to the Chromium that the task has. Returns the id of its agent."""
    agent_id: str = tasks.job(job_id)["agent_id"]
    os.kill(chromium_of(stack, tasks.agent(agent_id)), signal.SIGKILL)
    return agent_id


def test_a_waiting_task_goes_on_in_its_browser_after_its_worker_was_killed(
    tasks: Tasks, workers: Workers, stack: Stack
) -> None:
    job = asking(tasks)
    workers.kill_own()

    assert tasks.job(job["id"])["status"] == "input_required"
    assert tasks.post(f"/v1/jobs/{job['id']}/respond", {"response": "Ada"}).status_code == 200
    after = tasks.over(job["id"])

    assert (after["status"], after["result"]["final_result"]) == ("completed", "Ada 1")
    assert (after["agent_id"], after["step_count"], after["credits_charged"]) == (job["agent_id"], 3, 1)
    assert kinds(tasks, job["id"]).count("attached") == 1
    assert "requeued" not in kinds(tasks, job["id"])


def test_a_key_that_is_gone_fails_the_task_in_plain_words_and_costs_nothing(tasks: Tasks, stack: Stack) -> None:
    job = asking(tasks)
    empty_redis(stack)

    assert tasks.post(f"/v1/jobs/{job['id']}/respond", {"response": "Ada"}).status_code == 200
    after = tasks.over(job["id"])

    assert (after["status"], after["error_code"], after["credits_charged"]) == ("failed", "INTERNAL_ERROR", 0)
    assert (
        "LLM key of this task is not available" in after["error_message"]
        and "Redis was emptied" in after["error_message"]
    )
    assert "Nothing was charged" in after["error_message"]
    assert (after["result"]["steps_taken"], after["result"]["success"]) == (2, False)
    assert tasks.credits() == (SIGNUP, 0)
    assert tasks.agent(job["agent_id"])["status"] == "destroyed"


def test_a_task_at_work_does_not_notice_an_emptied_redis(tasks: Tasks, stack: Stack) -> None:
    gate = Gate()
    job_id = gated(tasks, "unmoved", gate, errands.walk(tasks.site, "1"))

    empty_redis(stack)
    gate.open()

    assert tasks.over(job_id)["result"]["final_result"] == "Here: 1."


def test_a_worker_that_takes_a_task_over_needs_its_key(tasks: Tasks, stack: Stack, workers: Workers) -> None:
    gate = Gate()
    job_id = gated(tasks, "orphaned", gate, errands.walk(tasks.site, "1"))

    empty_redis(stack)
    workers.kill_own()
    after = tasks.over(job_id)
    gate.open()

    assert (after["error_code"], after["credits_charged"]) == ("INTERNAL_ERROR", 0)
    assert "LLM key of this task is not available" in after["error_message"]
    assert after["result"]["steps_taken"] == 1
    assert tasks.credits() == (SIGNUP, 0)


def test_a_worker_that_is_told_to_stop_hands_its_task_over(tasks: Tasks, workers: Workers, database: Database) -> None:
    gate = Gate()
    with workers.no_tasks_for():
        leaver = workers.start()
        job_id = gated(tasks, "handed", gate, errands.walk(tasks.site, "1"))
        assert worker_of(database, job_id) == leaver.pid
        before = tasks.job(job_id)
        os.kill(leaver.pid, signal.SIGTERM)
        until(lambda: tasks.job(job_id)["status"] == "queued", 10, what="the task's return to the queue")
    gate.open()
    after = tasks.over(job_id)

    assert leaver.process.wait(20) == 0
    assert (after["status"], after["result"]["final_result"]) == ("completed", "Here: 1.")
    assert (after["agent_id"], after["step_count"], after["credits_charged"]) == (before["agent_id"], 2, 1)
    given_back = [event["data"] for event in tasks.events(job_id, "requeued")]
    assert given_back == [{"reason": "worker_stopping"}]
    assert database.rows("SELECT attempts FROM jobs_job WHERE id = %s", job_id) == [{"attempts": 0}]


def test_a_browser_that_dies_before_any_step_has_acted_is_replaced(tasks: Tasks, stack: Stack) -> None:
    gate = Gate()
    job_id = gated(tasks, "early", gate)

    dead = kill_browser(stack, tasks, job_id)
    until(lambda: tasks.job(job_id)["agent_id"] != dead, what="another browser")
    gate.open()
    after = tasks.over(job_id)

    assert (after["status"], after["step_count"], after["credits_charged"]) == ("completed", 1, 1)
    assert kinds(tasks, job_id).count("attached") == 2
    assert tasks.agent(dead)["status"] == "destroyed"
    assert tasks.credits() == (SIGNUP - 1, 0)


def test_only_one_browser_is_replaced(tasks: Tasks, stack: Stack) -> None:
    gate = Gate()
    job_id = gated(tasks, "unlucky", gate)

    dead = kill_browser(stack, tasks, job_id)
    until(lambda: tasks.job(job_id)["agent_id"] != dead, what="another browser")
    kill_browser(stack, tasks, job_id)
    after = tasks.over(job_id)
    gate.open()

    assert (after["status"], after["error_code"], after["credits_charged"]) == ("failed", "INTERNAL_ERROR", 0)
    assert "browser ended" in after["error_message"] and "Nothing was charged" in after["error_message"]


def test_a_browser_that_dies_after_a_step_ends_the_task_with_what_was_done(tasks: Tasks, stack: Stack) -> None:
    gate = Gate()
    job_id = gated(tasks, "late", gate, errands.walk(tasks.site, "1"), errands.walk(tasks.site, "2"))

    dead = kill_browser(stack, tasks, job_id)
    after = tasks.over(job_id)
    gate.open()

    assert (after["status"], after["error_code"], after["credits_charged"]) == ("failed", "INTERNAL_ERROR", 0)
    assert "browser ended" in after["error_message"] and "Nothing was charged" in after["error_message"]
    assert (after["result"]["steps_taken"], after["result"]["success"]) == (2, False)
    assert after["agent_id"] == dead and kinds(tasks, job_id).count("attached") == 1
    assert tasks.credits() == (SIGNUP, 0)


def test_a_step_that_has_begun_to_act_is_not_begun_again_elsewhere(tasks: Tasks, stack: Stack) -> None:
    tasks.model.play("acting", [[Navigate(tasks.site.url("/acting")), Wait(60)], Done("Never.")])
    job_id = tasks.give("acting")["id"]
    until(lambda: "/acting" in tasks.site.paths(), what="the action")

    kill_browser(stack, tasks, job_id)
    after = tasks.over(job_id)

    assert (after["error_code"], after["credits_charged"]) == ("INTERNAL_ERROR", 0)
    assert tasks.site.paths().count("/acting") == 1


def test_a_browser_and_its_worker_may_die_together(tasks: Tasks, stack: Stack, workers: Workers) -> None:
    early, late = Gate(), Gate()
    fresh = gated(tasks, "early2", early)
    acted = gated(tasks, "late2", late, errands.walk(tasks.site, "1"))

    runner = stack.pids["runner"]
    os.kill(runner, signal.SIGKILL)  # and with it every browser
    workers.kill_own()
    until(lambda: stack.pids.get("runner", runner) != runner, what="another runner")
    early.open()
    late.open()
    replaced, ended = tasks.over(fresh), tasks.over(acted)

    assert (replaced["status"], replaced["step_count"], replaced["credits_charged"]) == ("completed", 1, 1)
    assert (ended["error_code"], ended["credits_charged"]) == ("INTERNAL_ERROR", 0)
    assert ended["result"]["steps_taken"] == 1


def test_nothing_is_left_behind(stack: Stack, database: Database) -> None:
    """After all of the above."""
    assert manage(stack, "verify_jobs") == "Every job is what its events say.\n"
    verify_ledger(stack)
    assert not database.rows("SELECT job_id FROM jobs_taskrun")
    assert not database.open_holds()
    until(lambda: leases(stack) == database.live_agents() == set(), 20, what="the end of every lease")
