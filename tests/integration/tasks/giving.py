"""Gives tasks to a stack whose model plays scripts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.fakes.model import ScriptedModel
from tests.fakes.site import Site
from tests.integration.driving import Member, plain_http
from tests.patience import until

KEY = "sk-test-0123456789abcdef"

# A form, and what it leads to.
FORM = """<!doctype html><title>Search</title><form action="/found">
<label>Name <input name="name"></label><button>Go</button></form>"""


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
        answer = self._http.post("/v1/tasks", json=body)
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def done(self, script: str, **fields: Any) -> dict[str, Any]:
        """The job once it is over."""
        return self.over(self.give(script, **fields)["id"])

    def over(self, job_id: str) -> dict[str, Any]:
        job = self.job(job_id, wait=100)
        assert job["completed_at"], job
        return job

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
