"""Tasks that succeed, on a real stack: steps, their events and screenshots, the result, the bill."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes.model import Action, Click, Done, Extract, Failing, Navigate, Overloaded, RateLimited, Type
from tests.fakes.site import SELF_PORTRAIT, Page, html
from tests.integration.driving import Member, leases, visit
from tests.integration.tasks.giving import KEY, MOST_STEPS, Tasks, waited, when_shown
from tests.patience import until

pytestmark = pytest.mark.integration

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("llm", ["anthropic:claude-search", "gpt-search"])
def test_a_task_is_done_step_by_step_with_either_provider(tasks: Tasks, member: Member, llm: str) -> None:
    model, site = tasks.model, tasks.site
    model.play(
        "search",
        when_shown(
            ("", [Navigate(site.url("/form"))]),
            ("Go", [Type("Name", "Ada"), Click("Go", goal="Send the form.")]),
            ("Ada is here", Extract("who is here", "Ada is here")),
            ("", Done("Ada is here.")),
        ),
    )
    base_url = model.base_url if llm.startswith("anthropic") else f"{model.base_url}/v1"

    job = tasks.done("search", llm=llm, llm_base_url=base_url, metadata={"mine": 1}, max_steps=MOST_STEPS)

    assert (job["status"], job["framework"], job["kind"]) == ("completed", "browser-use", "task")
    assert job["result"]["final_result"] == "Ada is here."
    assert job["result"]["trust_score"] == member.agent(job["agent_id"])["trust_score"] > 0
    assert job["metadata"] == {"mine": 1}
    steps = tasks.steps(job["id"])
    assert job["result"]["steps_taken"] == job["step_count"] == job["progress_done"] == len(steps)
    assert [step["number"] for step in steps] == [n + 1 for n in range(len(steps))]
    assert [step["credits"] for step in steps] == [int(n % 3 == 0) for n in range(len(steps))]
    assert job["credits_charged"] == sum(step["credits"] for step in steps) >= 2
    assert tasks.credits() == (100 - job["credits_charged"], 0)
    assert all(step["error"] is None and step["duration_ms"] > 0 for step in steps)
    assert all(step["tokens"]["input"] > 0 and step["tokens"]["output"] > 0 for step in steps)
    steps = [step for step in steps if not waited(step)]
    assert len(steps) == 4
    assert (steps[1]["url"], steps[1]["title"]) == (site.url("/form"), "Search")
    assert steps[1]["goal"] == "Send the form."
    assert [next(iter(action)) for action in steps[1]["actions"]] == ["input", "click"]
    assert steps[2]["title"] == "Found" and "Ada is here" in steps[2]["result"]
    assert {seen.api_key for seen in model.requests if seen.script == "search"} == {KEY}
    shot = tasks.get(steps[2]["screenshot_url"].removeprefix(member.stack.api_url))
    assert shot.headers["content-type"] == "image/png" and shot.content.startswith(PNG)


def test_its_browser_is_a_burner_of_its_own_that_ends_with_it(tasks: Tasks, member: Member) -> None:
    tasks.model.play("short", [Done("Nothing to do.")])

    job = tasks.done("short", country="de", os_type="OS_TYPE_WINDOWS", initial_url=tasks.site.url("/hello"))

    agent = tasks.agent(job["agent_id"])
    assert (agent["status"], agent["country"], agent["os_type"]) == ("destroyed", "de", "OS_TYPE_WINDOWS")
    assert agent["cost_credits"] == 0
    assert [line["kind"] for line in member.ledger()] == ["grant", "hold", "capture", "release"]
    assert tasks.steps(job["id"])[0]["url"] == tasks.site.url("/hello")
    until(lambda: agent["id"] not in leases(member.stack), what="the end of its browser")


def test_sites_see_the_identity_as_ever(tasks: Tasks) -> None:
    told: list[dict[str, Any]] = []

    def take(query: dict[str, str]) -> Page:
        told.append(json.loads(query["seen"]))
        return html("thanks")

    telltale = "<p>An empty page would be loaded again.</p>"
    telltale += f"<script>{SELF_PORTRAIT}; const seen = [portrait(), [innerWidth, innerHeight]];"
    telltale += "fetch('/told?seen=' + encodeURIComponent(JSON.stringify(seen)))</script>"
    tasks.site.pages.update({"/telltale": lambda query: html(telltale), "/told": take})

    def after(count: int, action: Action) -> Callable[[str], Action]:
        """Leaves no page before it has told."""

        def act(prompt: str) -> Action:
            until(lambda: len(told) >= count, what="what the page tells")
            return action

        return act

    again = Navigate(tasks.site.url("/telltale"))
    tasks.model.play("seen", [after(1, again), after(2, Done("Seen."))])

    job = tasks.done("seen", country="de", os_type="OS_TYPE_WINDOWS", initial_url=tasks.site.url("/telltale"))
    measured = tasks._http.get(f"/v1/agents/{job['agent_id']}/fingerprint").json()["screen"]

    first, window = told[0]
    assert len(told) >= 2 and all(one == told[0] for one in told)
    assert "Windows NT 10.0" in first["userAgent"]
    assert (first["platform"], first["timezone"], first["webdriver"]) == ("Win32", "Europe/Berlin", False)
    assert first["languages"] == ["de-DE", "de", "en-US", "en"]
    assert first["screen"] == [measured[name] for name in ("width", "height", "devicePixelRatio")]
    assert window == [measured["innerWidth"], measured["innerHeight"]]


def test_the_model_sees_the_page_unless_vision_is_off(tasks: Tasks) -> None:
    tasks.model.play("look", [Done("Seen.")])
    tasks.model.play("blind", [Done("Not seen.")])

    tasks.done("look", initial_url=tasks.site.url("/hello"))
    tasks.done("blind", initial_url=tasks.site.url("/hello"), use_vision=False)

    images = {seen.script: seen.has_image for seen in tasks.model.requests if seen.script in ("look", "blind")}
    assert images == {"look": True, "blind": False}


def test_a_task_runs_in_an_agent_of_the_callers_and_lets_it_live(tasks: Tasks, member: Member) -> None:
    tasks.model.play("mine", [Done("Done in yours.")])
    agent = member.burner(initial_url=tasks.site.url("/hello"))
    pages = f"{agent['cdp_http']}/json/list"
    until(lambda: "Hello" in [page["title"] for page in visit(pages).json()], what="its first page")

    job = tasks.done("mine", agent_id=agent["id"])

    assert (job["status"], job["agent_id"]) == ("completed", agent["id"])
    assert tasks.steps(job["id"])[0]["title"] == "Hello"
    assert tasks.agent(agent["id"])["status"] == "running"


def test_a_busy_provider_is_waited_for(tasks: Tasks) -> None:
    tasks.model.play("busy", [Failing(RateLimited(retry_after=1), Overloaded(), then=Done("At last."))])

    job = tasks.done("busy")

    assert (job["status"], job["step_count"]) == ("completed", 1)
    assert len([seen for seen in tasks.model.requests if seen.script == "busy"]) == 3


SCHEMA = {
    "type": "object",
    "properties": {
        "who": {"$ref": "#/$defs/name"},
        "mood": {"enum": ["good", "bad"]},
        "age": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    },
    "required": ["who", "mood", "age"],
    "$defs": {"name": {"type": "string", "minLength": 2}},
}


def test_an_answer_that_fits_the_schema_is_the_output(tasks: Tasks) -> None:
    answer = {"who": "Ada", "mood": "good", "age": None}
    tasks.model.play("schema", [Done(json.dumps(answer))])

    job = tasks.done("schema", output_schema=SCHEMA)

    assert job["status"] == "completed"
    assert job["result"]["output"] == answer


def test_an_answer_that_does_not_fit_may_be_given_once_more(tasks: Tasks) -> None:
    fits = '```json\n{"who": "Ada", "mood": "bad", "age": 36}\n```'
    tasks.model.play("second", [Done('{"who": "A", "mood": "good", "age": 1}'), Done(fits)])
    tasks.model.play("never", [Done("She is in a good mood.")])

    second, never = tasks.done("second", output_schema=SCHEMA), tasks.done("never", output_schema=SCHEMA)

    assert (second["status"], second["step_count"], second["result"]["output"]["age"]) == ("completed", 2, 36)
    told = [seen.prompt for seen in tasks.model.requests if seen.script == "second"][-1]
    assert "'A' is too short" in told
    assert (never["status"], never["error_code"], never["step_count"]) == ("failed", "STALLED", 2)
    assert "does not fit output_schema: it is not JSON" in never["error_message"]


def test_the_events_come_live(tasks: Tasks) -> None:
    tasks.model.play("live", [Navigate(tasks.site.url("/hello")), Done("Over.")])
    job = tasks.give("live")

    stream = tasks._http.stream("GET", f"/v1/jobs/{job['id']}/events", headers={"Accept": "text/event-stream"})
    with stream as answer:
        lines = [line.removeprefix("event: ") for line in answer.iter_lines() if line.startswith("event: ")]

    assert lines == ["queued", "started", "attached", "step", "step", "completed"]


def test_the_router_hands_over_what_is_no_scrape(tasks: Tasks) -> None:
    tasks.model.play("routed", [Done("Clicked.")])
    url = tasks.site.url("/form")
    body = {
        "task": f"Go to {url} and click the button.",
        "llm": "claude-routed",
        "llm_api_key": KEY,
        "llm_base_url": tasks.model.base_url,
    }

    routed, scraped = tasks.post("/v1/auto", body), tasks.post("/v1/auto", {"task": f"Go to {url} and read it."})
    refused = tasks.post("/v1/auto", {"task": f"Go to {url} and click the button."})

    assert (routed.status_code, routed.json()["routed_via"]) == (202, "task")
    assert "click" in routed.json()["routing_reason"]
    assert tasks.over(routed.json()["id"])["result"]["final_result"] == "Clicked."
    assert (scraped.status_code, scraped.json()["routed_via"]) == (200, "scrape")
    assert (refused.status_code, list(refused.json()["fields"])) == (400, ["llm_api_key"])
