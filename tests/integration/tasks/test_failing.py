"""Every way in which a task fails: its code, the provider's own words, what it costs."""

from __future__ import annotations

import json

import pytest

from tests.fakes.model import (
    Always,
    AskHuman,
    BadRequest,
    Done,
    Failing,
    Garbage,
    Hang,
    Navigate,
    OutOfCredit,
    RateLimited,
    Raw,
    ServerError,
    Unauthorized,
    Wait,
)
from tests.integration.driving import Member
from tests.integration.tasks.giving import KEY, Tasks
from tests.patience import until

pytestmark = pytest.mark.integration

SAID = {"text": "It is done.", "success": True}


def seen(tasks: Tasks, script: str) -> int:
    return len([one for one in tasks.model.requests if one.script == script])


def test_an_agent_that_runs_out_of_steps_has_stalled(tasks: Tasks) -> None:
    tasks.model.play("wanderer", [Navigate(tasks.site.url("/hello"))])

    job = tasks.done("wanderer", max_steps=4)

    assert (job["status"], job["error_code"], job["step_count"]) == ("failed", "STALLED", 4)
    assert "ran out of steps: 4 (max_steps) were not enough" in job["error_message"]
    assert job["result"]["steps_taken"] == 4 and not job["result"]["success"]
    assert tasks.get(f"/v1/jobs/{job['id']}/result").json() == job["result"]
    assert tasks.credits() == (98, 0)


def test_an_agent_that_gives_up_has_stalled_too(tasks: Tasks) -> None:
    tasks.model.play("quitter", [Done("There is a captcha that I can't solve.", success=False)])

    job = tasks.done("quitter")

    assert (job["error_code"], job["credits_charged"]) == ("STALLED", 1)
    assert "decided to give up" in job["error_message"] and "captcha" in job["error_message"]


def test_a_key_that_is_refused_ends_the_task_at_once(tasks: Tasks) -> None:
    tasks.model.play("refused", [Always(Unauthorized(echo=True))])

    job = tasks.done("refused")

    assert (job["error_code"], job["step_count"], seen(tasks, "refused")) == ("INVALID_API_KEY", 0, 1)
    assert "401" in job["error_message"]
    assert KEY not in job["error_message"] and "[the key]" in job["error_message"]
    assert tasks.credits() == (100, 0)


def test_a_provider_that_goes_on_limiting_is_given_up(tasks: Tasks) -> None:
    tasks.model.play("limited", [Wait(1), Always(RateLimited(retry_after=3600))])
    tasks.model.play("empty", [Always(OutOfCredit())])

    limited, empty = tasks.done("limited"), tasks.done("empty", llm="openai:gpt-empty")

    assert (limited["error_code"], limited["step_count"], limited["credits_charged"]) == ("RATE_LIMIT", 1, 1)
    assert (empty["error_code"], seen(tasks, "empty")) == ("RATE_LIMIT", 1)


def test_a_provider_that_fails_gives_its_own_words(tasks: Tasks) -> None:
    tasks.model.play("down", [Always(ServerError())])
    tasks.model.play("wrong", [Always(BadRequest("max_tokens is too large"))])

    down, wrong, unknown = tasks.done("down"), tasks.done("wrong"), tasks.done("unknown-model")

    assert (down["error_code"], seen(tasks, "down")) == ("LLM_ERROR", 4)
    assert (wrong["error_code"], seen(tasks, "wrong")) == ("LLM_ERROR", 1)
    assert "max_tokens is too large" in wrong["error_message"]
    assert unknown["error_code"] == "LLM_ERROR" and "404" in unknown["error_message"]
    assert tasks.credits() == (100, 0)


def test_a_model_that_talks_nonsense_is_told_so_and_then_given_up(tasks: Tasks) -> None:
    tasks.model.play("once", [Failing(Garbage(), then=Done("Sorry."))])
    tasks.model.play("nonsense", [Always(Garbage())])

    once, nonsense = tasks.done("once"), tasks.done("nonsense")

    assert (once["status"], once["step_count"]) == ("completed", 1)
    assert (nonsense["error_code"], nonsense["step_count"], nonsense["credits_charged"]) == ("LLM_ERROR", 0, 0)
    assert "can't be used, 3 in a row" in nonsense["error_message"]
    assert "I'm sorry, but I can't click on that." in nonsense["error_message"]


def test_what_a_local_model_puts_around_its_answer_is_taken_off(tasks: Tasks) -> None:
    done = {"evaluation_previous_goal": "", "memory": "", "next_goal": "End.", "action": [{"done": SAID}]}
    text = f"<think>Is {{this}} it?</think>Here you are:\n```json\n{json.dumps(done)}\n```"
    answer = {"choices": [{"message": {"content": text}}], "usage": None}
    tasks.model.play("local", [Always(Raw(json.dumps(answer).encode()))])

    job = tasks.done("local", llm="openai:gpt-local")

    assert (job["status"], job["result"]["final_result"], job["step_count"]) == ("completed", SAID["text"], 1)
    assert job["result"]["tokens"] == {"input": 0, "output": 0}


def test_an_answer_that_is_none_is_said_to_be_so(tasks: Tasks) -> None:
    tasks.model.play("portal", [Always(Raw(b"<html><title>Sign in</title>", content_type="text/html"))])
    tasks.model.play("hidden", [Always(Raw(b'{"error": {"code": 401, "message": "Key revoked."}}'))])

    portal, hidden = tasks.done("portal"), tasks.done("hidden", llm="openai:gpt-hidden")

    assert (portal["error_code"], hidden["error_code"]) == ("LLM_ERROR", "INVALID_API_KEY")
    assert portal["error_message"] == "The provider answered 200 with an HTML page instead of JSON: Sign in"
    assert hidden["error_message"] == "The provider answered 200 with the error 401: Key revoked."


def test_a_task_that_costs_too_much_ends_with_what_it_has(tasks: Tasks) -> None:
    tasks.model.play("4.1-nano", [Wait(1), Wait(1), Wait(1), Wait(1), Done("Never.")])
    tasks.model.play("haiku-4-5", [Done("At last.")])

    first = tasks.done("4.1-nano", llm="openai:gpt-4.1-nano", max_cost_usd=0.000001)
    answered = tasks.done("haiku-4-5", max_cost_usd=0.000001)
    within = tasks.done("haiku-4-5", max_cost_usd=5)

    assert (first["status"], first["error_code"], first["credits_charged"]) == ("failed", "BUDGET_EXCEEDED", 1)
    assert "more than max_cost_usd (1e-06 USD)" in first["error_message"]
    assert first["result"]["steps_taken"] == 1 and first["result"]["cost_usd"] > 0.000001
    assert (answered["error_code"], answered["result"]["final_result"]) == ("BUDGET_EXCEEDED", "At last.")
    assert (within["status"], within["result"]["final_result"]) == ("completed", "At last.")
    tokens = within["result"]["tokens"]
    assert within["result"]["cost_usd"] == pytest.approx((tokens["input"] + 5 * tokens["output"]) / 1e6, abs=1e-6)


def test_answers_that_are_no_steps_cost_too(tasks: Tasks) -> None:
    tasks.model.play("4o", [Failing(Garbage(), then=Done("Sorry."))])
    tasks.model.play("4o-mini", [Always(Garbage())])

    sorry = tasks.done("4o", llm="openai:gpt-4o")
    dear = tasks.done("4o-mini", llm="openai:gpt-4o-mini", max_cost_usd=0.000001)

    prompts = [1 + len(seen.prompt) // 4 for seen in tasks.model.requests if seen.script == "4o"]
    assert (len(prompts), sorry["result"]["tokens"]["input"]) == (2, sum(prompts))
    assert (dear["error_code"], seen(tasks, "4o-mini"), dear["credits_charged"]) == ("BUDGET_EXCEEDED", 1, 0)


def test_a_task_over_its_budget_asks_no_more(tasks: Tasks) -> None:
    tasks.model.play("4.1", [AskHuman("Which?")])

    job = tasks.done("4.1", llm="openai:gpt-4.1", max_cost_usd=0.000001)

    assert (job["error_code"], job["step_count"]) == ("BUDGET_EXCEEDED", 1)


def test_a_task_that_takes_too_long_is_ended(tasks: Tasks) -> None:
    tasks.model.play("slow", [Wait(1), Always(Hang())])

    for seconds in (8, 24, 72):
        job = tasks.done("slow", wallclock_seconds=seconds)
        assert (job["error_code"], job["credits_charged"]) == ("TIMEOUT", job["step_count"])
        assert f" {seconds} s (wallclock_seconds)" in job["error_message"]
        if job["step_count"]:  # else the machine was too slow for even one step
            break

    assert job["step_count"] == 1
    assert tasks.agent(job["agent_id"])["status"] == "destroyed"


@pytest.mark.parametrize("inside", ["http://169.254.169.254/latest", "http://localhost:{port}", "http://127.1:{port}"])
def test_a_provider_that_may_not_be_reached_is_refused(tasks: Tasks, member: Member, inside: str) -> None:
    """By its form. What a name leads to is found out when it is dialled: tests/jobs/tasks/llm/test_transport.py."""
    url = inside.format(port=member.stack.port)
    refused = tasks.post("/v1/tasks", {"task": "x", "llm_api_key": KEY, "llm_base_url": url})
    assert (refused.status_code, list(refused.json()["fields"])) == (400, ["llm_base_url"])


def test_a_cancelled_task_stops_and_what_was_finished_is_charged(tasks: Tasks) -> None:
    tasks.model.play("endless", [Wait(1), Wait(1), Wait(1), Wait(1), Wait(30)])
    job = tasks.give("endless", max_steps=20)
    until(lambda: tasks.job(job["id"])["step_count"] == 4, what="four steps")

    tasks.post(f"/v1/jobs/{job['id']}/cancel")
    job = tasks.over(job["id"])

    assert (job["status"], job["step_count"], job["credits_charged"]) == ("cancelled", 4, 2)
    assert tasks.agent(job["agent_id"])["status"] == "destroyed"
    assert tasks.credits() == (98, 0)


def test_a_browser_that_its_owner_ends_ends_the_task(tasks: Tasks, member: Member) -> None:
    tasks.model.play("orphan", [Wait(1), Wait(30)])
    job = tasks.give("orphan")
    until(lambda: tasks.job(job["id"])["step_count"] == 1, what="a step")

    member.delete(f"/v1/agents/{tasks.job(job['id'])['agent_id']}")
    job = tasks.over(job["id"])

    assert (job["status"], job["error_code"], job["credits_charged"]) == ("failed", "INTERNAL_ERROR", 1)
    assert "deleted" in job["error_message"]
