"""Every operation of the OpenAPI document is called once or more, and each answer fits what the document says."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from apps.agents.models import Agent
from apps.jobs.models import Job, StepScreenshot
from apps.jobs.services import completion
from apps.jobs.services.claims import Claim
from apps.jobs.tasks import services as tasks
from apps.webhooks import openapi as events
from apps.webhooks import signing
from apps.webhooks.models import EVENT_TYPES, Attempt, Delivery, OutboxEvent
from runner.wire import Download, PageFailure
from tests.billing.conftest import stripe
from tests.cast import Member, Reply
from tests.fakes.pages import FakePages
from tests.fakes.runner import FakeRunner
from tests.fakes.served import ServedApi
from tests.fakes.stripe import FakeStripe
from tests.jobs.conftest import Work
from tests.jobs.making import claimed, now, reread
from tests.openapi import contract

__all__ = ["stripe"]

pytestmark = pytest.mark.django_db(transaction=True)

TASK = {"task": "Sort these words by length.", "llm_api_key": "sk-1", "metadata": {"ours": [1]}}
UNKNOWN = uuid.UUID(int=0)


class Judge:
    """Asks as `member`, and collects what does not fit the document."""

    def __init__(self, api: ServedApi, member: Member) -> None:
        self._api, self.member = api, member
        self.answered: set[str] = set()
        self.problems: list[str] = []

    def ask(self, method: str, path: str, body: Any = None, *, expect: int = 0, **headers: str) -> Any:
        """The answer's JSON. With `expect` another status is a problem."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        reply = self._api.ask(self.member, method, path, body, headers=sent)
        self.problems += contract().problems_of(method, path, reply.status, reply.headers, reply.content)
        if expect and reply.status != expect:
            self.problems.append(f"{method} {path}: {reply.status} {reply.content[:300]!r}")
        operation = contract().operation(method, path.partition("?")[0])
        if operation and reply.status < 300:
            self.answered.add(operation["operationId"])
        return _json(reply)


def _json(reply: Reply) -> Any:
    return reply.body if reply.headers.get("Content-Type") == "application/json" else None


@pytest.fixture
def judge(api: ServedApi, carol: Member, runner: FakeRunner) -> Iterator[Judge]:
    judge = Judge(api, carol)
    yield judge
    assert judge.problems == []


def test_agents(judge: Judge, runner: FakeRunner) -> None:
    agent = judge.ask(
        "POST", "/v1/agents", {"ttl": "5m", "persona": "p", "initial_url": "https://site.test/"}, expect=201
    )
    path = f"/v1/agents/{agent['id']}"
    download = Download("0" * 8 + "-0000-4000-8000-" + "0" * 12, "a.txt", "https://x.test/a", 4, "completed", 1.0)
    runner.downloads[agent["id"]] = [(download, b"text")]
    for part in ("", "/cdp", "/live", "/trust", "/fingerprint", "/detection-signal", "/downloads", "/downloads/a.txt"):
        judge.ask("GET", path + part, expect=200)
    judge.ask("POST", f"{path}/sessions", expect=400)
    judge.ask("GET", "/v1/agents?limit=1&include=quick", expect=200)
    judge.ask("DELETE", path, expect=204)
    judge.ask("GET", path, expect=200)
    judge.ask("GET", f"{path}/cdp", expect=409)
    judge.ask("GET", f"{path}/fingerprint", expect=200)
    judge.ask("GET", f"/v1/agents/agt_{0:020x}/fingerprint", expect=404)
    judge.ask("GET", f"/v1/agents/agt_{0:020x}", expect=404)
    judge.ask("GET", "/v1/agents/nonsense", expect=400)
    judge.ask("POST", "/v1/agents", {"ttl": 5, "mode": "persistent"}, expect=400)
    assert judge.answered == {
        *("create_agent", "get_agent", "get_agent_cdp", "get_agent_live", "list_agents", "destroy_agent"),
        *("get_agent_trust", "get_agent_fingerprint", "list_agent_downloads", "get_agent_download"),
        "get_agent_detection_signal",
    }


def test_an_agent_that_failed(judge: Judge, runner: FakeRunner) -> None:
    runner.behaviour = "no_browser"
    judge.ask("POST", "/v1/agents", {}, expect=504)
    judge.ask("GET", "/v1/agents", expect=200)


def test_credits_keys_and_team(judge: Judge, stripe: FakeStripe) -> None:
    judge.ask("GET", "/v1/credits", expect=200)
    judge.ask("GET", "/v1/credits/ledger", expect=200)
    judge.ask("GET", "/v1/credits/checkout", expect=200)
    checkout = judge.ask("POST", "/v1/credits/checkout", {"credits": 500}, expect=201)
    judge.ask("GET", f"/v1/credits/checkout/{checkout['id']}", expect=200)
    judge.ask("POST", "/v1/credits/checkout", {}, expect=400)
    key = judge.ask("POST", "/v1/keys", {"name": "another"}, expect=201)
    judge.ask("DELETE", f"/v1/keys/{key['id']}", expect=204)
    judge.ask("GET", "/v1/keys", expect=200)
    judge.ask("GET", "/v1/team/members", expect=200)
    assert judge.answered == {
        *("get_credits", "list_ledger_entries", "get_offers", "start_checkout", "get_checkout"),
        *("mint_key", "revoke_key", "list_keys", "list_team_members"),
    }


def test_webhooks(judge: Judge) -> None:
    hook = judge.ask("POST", "/v1/webhooks", {"url": "https://receiver.test/", "events": ["job.failed"]}, expect=201)
    path = f"/v1/webhooks/{hook['id']}"
    ping = judge.ask("POST", f"{path}/ping", expect=202)
    judge.ask("POST", f"{path}/test", expect=202)
    delivery = Delivery.objects.get(id=ping["id"])
    Delivery.objects.filter(id=delivery.id).update(status="failed", due_at=None)
    attempt = {"number": 1, "error": "it hung up", "duration_ms": 4, "ended_at": now()}
    Attempt.objects.create(delivery=delivery, endpoint=delivery.endpoint, **attempt)
    judge.ask("GET", f"{path}/deliveries", expect=200)
    judge.ask("POST", f"{path}/deliveries/{delivery.id}/redeliver", expect=202)
    judge.ask("PATCH", path, {"status": "disabled"}, expect=200)
    judge.ask("GET", path, expect=200)
    judge.ask("GET", "/v1/webhooks", expect=200)
    judge.ask("GET", "/v1/webhooks/signing-secret", expect=200)
    judge.ask("POST", "/v1/webhooks/signing-secret/rotate", expect=200)
    judge.ask("POST", "/v1/webhooks", {"url": "http://10.0.0.1/"}, expect=400)
    judge.ask("DELETE", path, expect=204)
    assert judge.answered == {
        *("register_webhook", "ping_webhook", "test_webhook", "list_webhook_deliveries", "redeliver_webhook_delivery"),
        *("change_webhook", "get_webhook", "list_webhooks", "delete_webhook"),
        *("get_webhook_signing_secret", "rotate_webhook_signing_secret"),
    }


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("scrape", {"url": "http://site.test/", "formats": ["html", "text", "links", "screenshot", "markdown"]}),
        ("extract", {"url": "http://site.test/", "prompt": "What is it?"}),
        ("extract", {"url": "http://site.test/", "schema": {"type": "object"}}),
        ("screenshot", {"url": "http://site.test/"}),
    ],
)
def test_pages(judge: Judge, pages: FakePages, work: Work, call: str, body: dict[str, Any]) -> None:
    pages.site("http://site.test/", links=["/1"])
    judge.ask("POST", f"/v1/quick/{call}", body, expect=200)
    judge.ask("POST", f"/v1/quick/{call}", body, expect=200, Idempotency_Key="one")
    judge.ask("POST", f"/v1/quick/{call}", body, expect=200, Idempotency_Key="one")
    job = judge.ask("POST", f"/v1/quick/{call}?async=true", body, expect=202)
    judge.ask("GET", f"/v1/jobs/{job['id']}/result", expect=409)
    work(job)
    _read(judge, job)
    pages.script("http://site.test/", PageFailure("unreachable", "net::ERR_CONNECTION_REFUSED", "http://site.test/"))
    judge.ask("POST", f"/v1/quick/{call}", body, expect=502)
    judge.ask("GET", "/v1/jobs", expect=200)
    assert f"quick_{call}" in judge.answered


def _read(judge: Judge, job: dict[str, Any]) -> None:
    for path in ("", "/status", "/result", "/events?limit=2", "?wait=1"):
        judge.ask("GET", f"/v1/jobs/{job['id']}{path}", expect=200)
    assert judge.answered >= {"get_job", "get_job_status", "get_job_result", "list_job_events"}


@pytest.mark.parametrize("mode", ["scrape", "extract", "screenshot"])
def test_batches(judge: Judge, pages: FakePages, work: Work, mode: str) -> None:
    urls = ["http://site.test/1", "http://site.test/2"]
    pages.script(urls[1], PageFailure("unreachable", "net::ERR_CONNECTION_REFUSED", urls[1]))
    job = judge.ask("POST", "/v1/quick/batch", {"urls": urls, "mode": mode, "prompt": "?"}, expect=202)
    work(job)
    _read(judge, job)


def test_crawls(judge: Judge, pages: FakePages, work: Work) -> None:
    pages.site("http://site.test/", links=["/1"])
    job = judge.ask("POST", "/v1/quick/crawl", {"url": "http://site.test/", "max_pages": 3}, expect=202)
    work(job)
    _read(judge, job)


def test_the_router(judge: Judge) -> None:
    judge.ask("POST", "/v1/auto", {"task": "Go to http://site.test/ and return the text."}, expect=200)
    judge.ask("POST", "/v1/auto", TASK, expect=202)
    assert judge.answered == {"auto"}


def test_tasks(judge: Judge) -> None:
    job = reread(uuid.UUID(judge.ask("POST", "/v1/tasks", TASK, expect=202)["id"]))
    path = f"/v1/jobs/{job.id}"
    StepScreenshot.objects.create(job=job, step=1, png=b"\x89PNG", created_at=now())
    judge.ask("GET", f"{path}/steps/1/screenshot", expect=200)
    judge.ask("GET", f"{path}/steps/2/screenshot", expect=404)
    judge.ask("POST", f"{path}/respond", {"response": "too early"}, expect=409)
    _ask_a_human(job)
    judge.ask("GET", path, expect=200)
    judge.ask("POST", f"{path}/respond", {"response": "This one."}, expect=200)
    claim = claimed(job)
    usage = {"input": 10, "output": 1}
    result = {
        "final_result": "done",
        "success": True,
        "trust_score": 700,
        "steps_taken": 1,
        "tokens": usage,
        "cost_usd": 0.1,
    }
    completion.complete(claim, result={**result, "output": {"any": ["thing"]}})
    _read(judge, {"id": str(job.id)})
    judge.ask("POST", f"{path}/cancel", expect=409)
    other = judge.ask("POST", "/v1/tasks", TASK, expect=202)
    judge.ask("POST", f"/v1/jobs/{other['id']}/cancel", expect=200)
    judge.ask("GET", f"/v1/jobs/{other['id']}/result", expect=409)
    judge.ask("GET", "/v1/jobs?kind=task&status=cancelled", expect=200)
    judge.ask("GET", f"/v1/jobs/{UNKNOWN}", expect=404)
    assert judge.answered >= {"create_task", "get_step_screenshot", "respond_to_job", "cancel_job", "list_jobs"}


def _ask_a_human(job: Job) -> None:
    claim: Claim = claimed(job)
    tasks.resume(claim, wallclock=timedelta(seconds=60))
    step = tasks.StepRecord(1, {"url": "http://site.test/", "tokens": {"input": 10, "output": 1}}, b"state")
    tasks.ask(claim, step, question="Which?")


def test_the_probes(judge: Judge) -> None:
    judge.ask("GET", "/healthz", expect=200)
    judge.ask("GET", "/metrics", expect=200)
    judge.ask("GET", "/readyz")  # 503 here: no beat runs
    assert judge.answered >= {"get_health", "get_metrics"}


@pytest.mark.parametrize("path", ["/v1/agents", "/v1/jobs", "/v1/keys", "/v1/webhooks", "/v1/credits/ledger"])
def test_calls_that_are_refused(judge: Judge, path: str) -> None:
    judge.ask("GET", f"{path}?limit=0", expect=400)
    judge.ask("GET", f"{path}?cursor=nonsense", expect=400)
    judge.member = Member(judge.member.workspace, "agt_live_" + "0" * 32)
    judge.ask("GET", path, expect=401)


def test_events_fit_the_webhooks_of_the_document(judge: Judge, pages: FakePages, work: Work) -> None:
    agent = judge.ask("POST", "/v1/agents", {}, expect=201)
    judge.ask("DELETE", f"/v1/agents/{agent['id']}", expect=204)
    job = judge.ask("POST", "/v1/quick/batch", {"urls": ["http://site.test/1"]}, expect=202)
    work(job)
    task = judge.ask("POST", "/v1/tasks", TASK, expect=202)
    _ask_a_human(reread(uuid.UUID(task["id"])))
    judge.ask("POST", f"/v1/jobs/{task['id']}/cancel", expect=200)
    hook = judge.ask("POST", "/v1/webhooks", {"url": "https://receiver.test/"}, expect=201)
    judge.ask("POST", f"/v1/webhooks/{hook['id']}/ping", expect=202)

    sent = set()
    for event in OutboxEvent.objects.all():
        body = signing.body(
            event_id=event.id,
            type=event.type,
            created_at=event.created_at,
            workspace_id=event.workspace_id,
            data=json.dumps(event.data),
        )
        described = contract().document["webhooks"][event.type]["post"]["requestBody"]["content"]
        judge.problems += contract().misfits(json.loads(body), described["application/json"]["schema"])
        sent.add(event.type)
    assert sent >= {"agent.provisioned", "agent.destroyed", "job.completed", "job.failed", "job.input_required"}
    assert set(contract().document["webhooks"]) == set(EVENT_TYPES)
    assert events.event_model("agent.session.started") == "AgentSessionStartedEvent"
    assert Agent.objects.exists()


def test_no_operation_is_left_out() -> None:
    """The sets of the tests above, together."""
    played = {
        *("create_agent", "get_agent", "get_agent_cdp", "get_agent_live", "list_agents", "destroy_agent"),
        *("get_agent_trust", "get_agent_fingerprint", "list_agent_downloads", "get_agent_download"),
        "get_agent_detection_signal",
        *("get_credits", "list_ledger_entries", "get_offers", "start_checkout", "get_checkout"),
        *("mint_key", "revoke_key", "list_keys", "list_team_members"),
        *("register_webhook", "ping_webhook", "test_webhook", "list_webhook_deliveries", "redeliver_webhook_delivery"),
        *("change_webhook", "get_webhook", "list_webhooks", "delete_webhook"),
        *("get_webhook_signing_secret", "rotate_webhook_signing_secret"),
        *("quick_scrape", "quick_extract", "quick_screenshot", "quick_batch", "quick_crawl", "auto"),
        *("get_job", "get_job_status", "get_job_result", "list_job_events", "list_jobs", "cancel_job"),
        *("create_task", "get_step_screenshot", "respond_to_job"),
        *("get_health", "get_readiness", "get_metrics"),
        "open_session",  # has no success yet
    }
    assert contract().operation_ids() == played
