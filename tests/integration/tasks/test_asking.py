"""A task that asks a human: it waits without a worker, goes on with the answer, can be cancelled meanwhile."""

from __future__ import annotations

import re

import pytest

from tests.fakes.model import AskHuman, Done, Navigate
from tests.integration.driving import Database, Member
from tests.integration.tasks.giving import Tasks

pytestmark = pytest.mark.integration


def play(tasks: Tasks, script: str) -> None:
    def told(prompt: str) -> Done:
        answered = re.search(r"The human answered: (\w+)", prompt)
        return Done(answered[1] if answered else "nothing", success=bool(answered))

    tasks.model.play(script, [Navigate(tasks.site.url("/form")), AskHuman("Which name?"), told])


def test_the_answer_reaches_the_agent_in_the_same_browser(tasks: Tasks, member: Member) -> None:
    play(tasks, "ask")
    job = tasks.give("ask", wallclock_seconds=600)

    asking = tasks.until(job["id"], "input_required")
    assert asking["input_request"]["question"] == "Which name?"
    assert set(asking["input_request"]) == {"question", "asked_at", "expires_at"}
    assert asking["step_count"] == 2
    answer = tasks.post(f"/v1/jobs/{job['id']}/respond", {"response": "Grace"})
    assert (answer.status_code, answer.json()["input_request"]) == (200, None)
    job = tasks.over(job["id"])

    assert (job["status"], job["result"]["final_result"], job["step_count"]) == ("completed", "Grace", 3)
    assert job["agent_id"] == asking["agent_id"]
    assert tasks.steps(job["id"])[2]["url"] == tasks.site.url("/form")
    kinds = [event["type"] for event in tasks.events(job["id"])]
    assert kinds[-6:] == ["step", "input_requested", "input_responded", "started", "step", "completed"]
    assert "Grace" not in str([event for event in tasks.events(job["id"]) if event["type"] == "input_responded"])
    again = tasks.post(f"/v1/jobs/{job['id']}/respond", {"response": "Grace"})
    assert (again.status_code, again.json()["code"]) == (409, "JOB_NOT_WAITING")


def test_a_task_that_waits_can_be_cancelled(tasks: Tasks) -> None:
    play(tasks, "ask-cancel")
    job = tasks.give("ask-cancel")
    asking = tasks.until(job["id"], "input_required")

    cancelled = tasks.post(f"/v1/jobs/{job['id']}/cancel").json()

    assert (cancelled["status"], cancelled["credits_charged"]) == ("cancelled", 1)
    assert tasks.agent(asking["agent_id"])["status"] == "destroyed"


def test_an_event_tells_that_it_asks(tasks: Tasks, member: Member) -> None:
    play(tasks, "ask-event")
    job = tasks.give("ask-event")
    tasks.until(job["id"], "input_required")

    rows = Database(member.stack).rows(
        "SELECT data FROM webhooks_outboxevent WHERE type = 'job.input_required' AND data->>'job_id' = %s", job["id"]
    )

    assert [row["data"]["input_request"]["question"] for row in rows] == ["Which name?"]
    tasks.post(f"/v1/jobs/{job['id']}/cancel")
