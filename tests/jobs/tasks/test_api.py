"""`POST /v1/tasks` as a client sees it: what may be asked for, what is held, where the key is and where it is not."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
import redis
from django.conf import LazySettings, settings
from django.db import connection

from apps.agents.models import Agent
from apps.jobs.models import Job, StepScreenshot, TaskRun
from apps.jobs.tasks.llm import keys, prices
from apps.webhooks.models import Delivery, Endpoint
from tests.cast import Member
from tests.fakes.runner import FakeRunner
from tests.jobs.making import now, reread

pytestmark = pytest.mark.django_db

KEY = "sk-test-0123456789abcdef"
TASK = {"task": "Find the top story.", "llm_api_key": KEY}


def give(member: Member, **fields: Any) -> Any:
    return member.post("/v1/tasks", {**TASK, **fields})


def test_a_task_is_a_job_whose_greatest_price_is_held(alice: Member) -> None:
    reply = give(alice, max_steps=7, metadata={"mine": 1})

    body = reply.body
    assert reply.status == 202
    assert (body["kind"], body["framework"], body["status"]) == ("task", "browser-use", "queued")
    assert (body["job_id"], body["progress_total"], body["metadata"]) == (body["id"], 7, {"mine": 1})
    assert alice.credits() == (100, 3)


def test_what_is_not_said_has_a_default(alice: Member) -> None:
    job = Job.objects.get(id=give(alice).body["id"])

    assert job.params == {
        "task": "Find the top story.",
        "llm": "openai:gpt-4.1-mini",
        "max_steps": 20,
        "wallclock_seconds": 900,
        "allowed_domains": [],
        "use_vision": True,
        "country": "us",
        "os_type": "OS_TYPE_MACOS",
    }
    assert alice.credits() == (100, 7)


def test_the_key_is_sealed_in_redis_and_nowhere_else(alice: Member) -> None:
    job_id = uuid.UUID(give(alice).body["id"])

    server = redis.Redis.from_url(settings.REDIS_URL)
    sealed = server.get(f"browsa:llm-key:{job_id}")
    assert isinstance(sealed, bytes) and KEY.encode() not in sealed
    assert 0 < server.ttl(f"browsa:llm-key:{job_id}") <= keys.TTL_SECONDS
    assert keys.get(job_id=job_id) == KEY
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608  our own names
            assert KEY not in str(cursor.fetchall()), table


def test_another_jobs_key_does_not_open(alice: Member) -> None:
    mine, other = uuid.UUID(give(alice).body["id"]), uuid.uuid4()
    server = redis.Redis.from_url(settings.REDIS_URL)
    server.copy(f"browsa:llm-key:{mine}", f"browsa:llm-key:{other}")

    with pytest.raises(keys.KeyUnavailable):
        keys.get(job_id=other)
    keys.forget(job_id=mine)
    with pytest.raises(keys.KeyUnavailable, match="emptied"):
        keys.get(job_id=mine)


@pytest.mark.django_db(transaction=True)
def test_the_key_and_the_other_data_of_a_task_are_deleted_with_its_end(carol: Member) -> None:
    job_id = uuid.UUID(give(carol).body["id"])

    assert carol.post(f"/v1/jobs/{job_id}/cancel").status == 200

    with pytest.raises(keys.KeyUnavailable):
        keys.get(job_id=job_id)
    assert not TaskRun.objects.filter(job_id=job_id).exists()
    assert carol.credits() == (100, 0)


def test_without_redis_no_task_begins(alice: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_redis", lambda: redis.Redis(port=1, socket_connect_timeout=0.2))

    reply = give(alice)

    assert (reply.status, reply.code) == (503, "NOT_READY")
    assert not Job.objects.exists() and alice.credits() == (100, 0)


def test_without_credits_no_task_begins_and_its_key_is_forgotten(alice: Member) -> None:
    before = redis.Redis.from_url(settings.REDIS_URL).keys("browsa:llm-key:*")
    for _ in range(2):
        give(alice, max_steps=100)

    reply = give(alice, max_steps=100)

    assert (reply.status, reply.code) == (402, "INSUFFICIENT_CREDIT")
    after = redis.Redis.from_url(settings.REDIS_URL).keys("browsa:llm-key:*")
    assert len(after) == len(before) + 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", None),
        ("task", ""),
        ("task", 5),
        ("task", "a" * 20_001),
        ("llm_api_key", None),
        ("llm_api_key", ""),
        ("llm_api_key", "sk with spaces"),
        ("llm_api_key", "sk-\u00fc"),
        ("llm_api_key", "a" * 501),
        ("llm_api_key", ["sk-1"]),
        ("llm", "anthropic:"),
        ("llm", 4),
        ("llm_base_url", "ftp://example.com"),
        ("llm_base_url", "http://localhost:1"),
        ("llm_base_url", "http://10.0.0.1"),
        ("llm_base_url", "http://me:secret@example.com"),
        ("max_steps", 0),
        ("max_steps", 101),
        ("max_steps", "20"),
        ("max_cost_usd", 0),
        ("max_cost_usd", -0.5),
        ("max_cost_usd", "1"),
        ("max_cost_usd", True),
        ("max_cost_usd", 1e9),
        ("max_cost_usd", 10**400),
        ("wallclock_seconds", 0),
        ("wallclock_seconds", 3601),
        ("wallclock_seconds", True),
        ("initial_url", "javascript:alert(1)"),
        ("initial_url", "file:///etc/passwd"),
        ("os_type", "OS_TYPE_BEOS"),
        ("country", "xx"),
        ("allowed_domains", "example.com"),
        ("allowed_domains", ["https://example.com"]),
        ("allowed_domains", ["a.test"] * 51),
        ("output_schema", []),
        ("output_schema", {"type": "nonsense"}),
        ("output_schema", {"$ref": "https://evil.test/schema"}),
        ("framework", "playwright"),
        ("framework", ""),
        ("framework", 1),
        ("profile_id", 7),
        ("profile_id", "p" * 201),
        ("use_vision", "yes"),
        ("metadata", []),
        ("metadata", {"a": "x" * 17_000}),
    ],
)
def test_invalid_fields_are_named_and_nothing_is_held(alice: Member, field: str, value: Any) -> None:
    reply = give(alice, **{field: value})

    assert (reply.status, list(reply.body["fields"])) == (400, [field])
    assert KEY not in reply.content.decode()
    assert not Job.objects.exists() and alice.credits() == (100, 0)


def test_a_budget_needs_a_price_which_the_operator_can_add(alice: Member, settings: LazySettings) -> None:
    unknown = give(alice, llm="openai:llama", max_cost_usd=0.5)
    known = give(alice, llm="claude-haiku-4-5-20251001", max_cost_usd=0.5)
    settings.MODEL_PRICES = prices.parse('{"openai:llama": {"input": 0.1, "output": 0.1}, "gpt-4.1-mini": null}')
    added, removed = give(alice, llm="openai:llama", max_cost_usd=1), give(alice, max_cost_usd=1)

    assert (unknown.status, list(unknown.body["fields"])) == (400, ["max_cost_usd"])
    assert "the price of openai:llama is not known" in unknown.body["error"]
    assert (known.status, added.status, removed.status) == (202, 202, 400)
    assert reread(uuid.UUID(known.body["id"])).params["max_cost_usd"] == 0.5
    assert give(alice, llm="openai:unknown").status == 202


def test_the_first_page_must_be_inside_of_the_domains(alice: Member) -> None:
    outside = give(alice, initial_url="https://evil.test/", allowed_domains=["example.com"])
    inside = give(alice, initial_url="https://a.example.com/", allowed_domains=["*.example.com"])

    assert (outside.status, list(outside.body["fields"])) == (400, ["initial_url"])
    assert inside.status == 202


def test_a_task_runs_in_ones_own_agents_only(alice: Member, bob: Member, runner: FakeRunner) -> None:
    mine = alice.post("/v1/agents", {}).body["id"]
    ended = alice.post("/v1/agents", {}).body["id"]
    alice.delete(f"/v1/agents/{ended}")

    assert give(alice, agent_id=mine).body["agent_id"] == mine
    assert (give(bob, agent_id=mine).status, give(alice, agent_id="agt_none").status) == (404, 404)
    assert give(alice, agent_id=ended).code == "AGENT_NOT_RUNNING"
    assert Agent.objects.get(id=mine).status == "running"


def test_the_framework_may_be_named(alice: Member) -> None:
    reply = give(alice, framework="browser-use")

    assert (reply.status, reply.body["framework"]) == (202, "browser-use")


def test_an_agent_may_be_named_by_its_profile(alice: Member, bob: Member, runner: FakeRunner) -> None:
    mine, other, ended = (alice.post("/v1/agents", {}).body for _ in range(3))
    alice.delete(f"/v1/agents/{ended['id']}")

    named = [
        give(alice, profile_id=mine["profile_id"]),
        give(alice, agent_id=mine["id"], profile_id=mine["profile_id"]),
    ]
    different = give(alice, agent_id=other["id"], profile_id=mine["profile_id"])

    assert [reply.body["agent_id"] for reply in named] == [mine["id"]] * 2
    assert (different.status, list(different.body["fields"])) == (400, ["profile_id"])
    missing = [give(bob, profile_id=mine["profile_id"]), give(alice, profile_id=ended["profile_id"])]
    assert [reply.status for reply in [*missing, give(alice, profile_id="prf_none")]] == [404] * 3
    assert reread(uuid.UUID(named[0].body["id"])).params["agent_id"] == mine["id"]


def test_a_webhook_url_receives_the_end_of_its_task_once(alice: Member) -> None:
    url = "https://shop.test/done?token=secret"
    cancelled, other = (uuid.UUID(give(alice, webhook_url=url).body["id"]) for _ in range(2))

    alice.post(f"/v1/jobs/{cancelled}/cancel")

    delivered = Delivery.objects.get(endpoint__job_id=cancelled)
    assert (delivered.endpoint.url, delivered.event.type) == (url, "job.failed")
    assert (delivered.event.data["job_id"], delivered.event.data["error_code"]) == (str(cancelled), "CANCELLED")
    assert not Delivery.objects.filter(endpoint__job_id=other).exists()
    assert alice.get("/v1/webhooks").body["webhooks"] == []
    assert "token" not in json.dumps([alice.get(f"/v1/jobs/{cancelled}").body, reread(cancelled).params])


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/", "http://localhost:1/", "ftp://a.test/", "shop.test", "http://[::1]/"]
)
def test_a_webhook_url_is_checked_as_a_webhooks(alice: Member, url: str) -> None:
    reply = give(alice, webhook_url=url)

    assert (reply.status, reply.code, list(reply.body["fields"])) == (400, "URL_NOT_ALLOWED", ["webhook_url"])
    assert not Job.objects.exists() and not Endpoint.objects.exists()


def test_a_task_that_is_not_accepted_leaves_no_receiver(alice: Member) -> None:
    for _ in range(2):
        give(alice, max_steps=100)

    assert give(alice, max_steps=100, webhook_url="https://shop.test/").status == 402
    assert not Endpoint.objects.exists()


def test_a_repeat_under_the_same_key_gives_the_same_task(alice: Member) -> None:
    first = alice.post("/v1/tasks", TASK, **{"Idempotency-Key": "one"})
    again = alice.post("/v1/tasks", TASK, **{"Idempotency-Key": "one"})
    other = alice.post("/v1/tasks", {**TASK, "task": "Another."}, **{"Idempotency-Key": "one"})

    assert again.content == first.content and again.headers["Idempotent-Replay"] == "true"
    assert other.code == "IDEMPOTENCY_KEY_REUSED"
    assert Job.objects.count() == 1


def test_a_screenshot_is_its_owners(alice: Member, bob: Member) -> None:
    job = reread(uuid.UUID(give(alice).body["id"]))
    StepScreenshot.objects.create(job=job, step=2, png=b"\x89PNG", created_at=now())
    path = f"/v1/jobs/{job.id}/steps/2/screenshot"

    assert (alice.get(path).status, alice.get(path).content) == (200, b"\x89PNG")
    assert alice.get(path).headers["Content-Type"] == "image/png"
    missing = [
        bob.get(path),
        alice.get(f"/v1/jobs/{job.id}/steps/3/screenshot"),
        alice.get(f"/v1/jobs/{job.id}/steps/x/screenshot"),
        alice.get(f"/v1/jobs/{uuid.uuid4()}/steps/2/screenshot"),
    ]
    assert [reply.status for reply in missing] == [404] * 4
    assert alice.get("/v1/jobs/no-uuid/steps/2/screenshot").code == "INVALID_ID"


def test_only_what_asks_can_be_answered(alice: Member, bob: Member) -> None:
    job_id = give(alice).body["id"]

    assert alice.post(f"/v1/jobs/{job_id}/respond", {"response": "x"}).code == "JOB_NOT_WAITING"
    assert alice.post(f"/v1/jobs/{job_id}/respond", {"response": 5}).status == 400
    assert alice.post(f"/v1/jobs/{job_id}/respond", {}).status == 400
    assert bob.post(f"/v1/jobs/{job_id}/respond", {"response": "x"}).status == 404


def test_no_answer_repeats_the_key(alice: Member) -> None:
    job_id = give(alice).body["id"]
    answers = [alice.get(f"/v1/jobs/{job_id}"), alice.get(f"/v1/jobs/{job_id}/events"), alice.get("/v1/jobs")]

    assert KEY not in json.dumps([answer.body for answer in answers])
