"""Gives tasks to a stack whose model plays scripts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.fakes.model import Action, Extract, ScriptedModel, Step, Wait, shown
from tests.fakes.site import Site
from tests.integration.driving import Member, plain_http
from tests.patience import PATIENCE, until

KEY = "sk-test-0123456789abcdef"

# A form, and what it leads to.
FORM = """<!doctype html><title>Search</title><form action="/found">
<label>Name <input name="name"></label><button>Go</button></form>"""

MOST_STEPS = 60


def when_shown(*steps: tuple[str, Action | list[Action]]) -> list[Step]:
    """A script of which each step is taken once the page shows that text. Until then the agent waits, a step at a time,
    of which there have to be enough: a click does not wait for the page that it leads to.
    """
    left = list(steps)

    def take(prompt: str) -> Action | list[Action]:
        text, actions = left[0]
        if text not in shown(prompt):
            return Wait(2)
        if len(left) > 1:
            del left[0]
        return actions

    readings = [actions for _, actions in steps if isinstance(actions, Extract)]  # are looked for in the whole script
    return [*[take] * MOST_STEPS, *readings]


def waited(step: dict[str, Any]) -> bool:
    return [next(iter(action)) for action in step["actions"]] == ["wait"]


@contextmanager
def tasks_of(member: Member, model: ScriptedModel, site: Site) -> Iterator[Tasks]:
    options = {"base_url": member.stack.api_url, "headers": {"X-API-Key": member.key}}
    with plain_http(130, **options) as http:
        yield Tasks(http, model, site)


class Tasks:
    """A member's tasks."""

    def __init__(self, http: httpx.Client, model: ScriptedModel, site: Site) -> None:
        self._http, self.model, self.site = http, model, site

    def give(self, script: str, **fields: Any) -> dict[str, Any]:
        """The accepted job of a task that plays `script`."""
        body = {
            "task": "Do as you are told.",
            "llm": f"anthropic:claude-{script}",
            "llm_api_key": KEY,
            "llm_base_url": self.model.base_url,
            "max_steps": 6,
            **fields,
        }
        answer = until(lambda: self._accepted(body), what="a Redis that keeps the key")
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def _accepted(self, body: dict[str, Any]) -> httpx.Response | None:
        """None while Redis doesn't answer: nothing was begun."""
        answer = self._http.post("/v1/tasks", json=body)
        return None if answer.status_code == 503 and answer.json()["code"] == "NOT_READY" else answer

    def done(self, script: str, **fields: Any) -> dict[str, Any]:
        """The job once it is over."""
        return self.over(self.give(script, **fields)["id"])

    def over(self, job_id: str) -> dict[str, Any]:
        return until(
            lambda: job if (job := self.job(job_id, wait=20))["completed_at"] else None,
            2 * PATIENCE,
            what="the end of the task",
        )

    def job(self, job_id: str, wait: int = 0) -> dict[str, Any]:
        answer = self._http.get(f"/v1/jobs/{job_id}" + (f"?wait={wait}" if wait else ""))
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def until(self, job_id: str, status: str) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            job = self.job(job_id)
            assert job["status"] == status or not job["completed_at"], job
            return job if job["status"] == status else None

        return until(reached, what=f"a task that is {status}")

    def events(self, job_id: str, kind: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(f"/v1/jobs/{job_id}/events?limit=200").json()["events"]
        return [event for event in found if not kind or event["type"] == kind]

    def steps(self, job_id: str) -> list[dict[str, Any]]:
        return [event["data"] for event in self.events(job_id, "step")]

    def get(self, path: str) -> httpx.Response:
        return self._http.get(path)

    def post(self, path: str, body: Any = None) -> httpx.Response:
        return self._http.post(path, json=body)

    def agent(self, agent_id: str) -> dict[str, Any]:
        agent: dict[str, Any] = self.get(f"/v1/agents/{agent_id}").json()
        return agent

    def credits(self) -> tuple[int, int]:
        body = self.get("/v1/credits").json()
        return body["balance"], body["held"]
