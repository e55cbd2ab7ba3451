"""`/v1/jobs` as a client sees it. Waiting and streaming are in `test_waiting`."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from apps.jobs.models import Job
from apps.jobs.services import completion
from apps.jobs.services.claims import Claim
from tests.cast import Member
from tests.jobs.making import add_pages, claimed, make_job, page, reread

pytestmark = pytest.mark.django_db

ENVELOPE = {
    "id",
    "status",
    "kind",
    "framework",
    "step_count",
    "progress_done",
    "progress_total",
    "credits_charged",
    "created_at",
    "started_at",
    "completed_at",
    "live_url",
    "agent_id",
    "status_url",
    "result_url",
    "result",
    "error_code",
    "error_message",
    "input_request",
    "input_question",
    "request_id",
    "metadata",
}


def path(job: Job, rest: str = "") -> str:
    return f"/v1/jobs/{job.id}{rest}"


def test_the_envelope_of_a_job_that_waits(alice: Member) -> None:
    job = make_job(alice, params={"url": "http://not-shown"}, metadata={"mine": 1})

    reply = alice.get(path(job))

    body = reply.body
    assert reply.status == 200
    assert body.keys() == ENVELOPE
    assert (body["id"], body["status"], body["kind"], body["metadata"]) == (str(job.id), "queued", "batch", {"mine": 1})
    assert (body["progress_done"], body["progress_total"], body["credits_charged"]) == (0, 3, 0)
    assert [body[name] for name in ("framework", "result", "error_code", "agent_id", "live_url", "started_at")] == [
        None
    ] * 6
    assert body["created_at"].endswith("Z")
    assert body["status_url"].endswith(path(job, "/status"))
    assert b"not-shown" not in reply.content


def test_a_completed_batch_shows_its_pages_in_order(alice: Member) -> None:
    job = make_job(alice)
    claim = claimed(job)
    add_pages(claim, 2, 0, 1)
    completion.complete(claim)

    body = alice.get(path(job)).body

    assert (body["status"], body["credits_charged"], body["progress_done"]) == ("completed", 3, 3)
    assert [row["url"][-1] for row in body["result"]["results"]] == ["0", "1", "2"]
    assert alice.get(path(job, "/result")).body == body["result"]


def test_a_failed_job_says_why(alice: Member) -> None:
    job = make_job(alice)
    completion.fail(claimed(job), code="TIMEOUT", message="It took too long.")

    body = alice.get(path(job)).body
    reply = alice.get(path(job, "/result"))

    assert (body["status"], body["error_code"], body["error_message"]) == ("failed", "TIMEOUT", "It took too long.")
    assert (reply.status, reply.code) == (409, "CONFLICT")
    assert "TIMEOUT: It took too long." in reply.body["error"]


def test_what_a_cancelled_batch_finished_can_be_had(alice: Member) -> None:
    job = make_job(alice)
    claim = claimed(job)
    add_pages(claim, 1)
    assert alice.get(path(job, "/result")).code == "CONFLICT"
    alice.post(path(job, "/cancel"))
    completion.end_cancelled(claim)

    reply = alice.get(path(job, "/result"))

    assert (reply.status, reply.body["completed"]) == (200, 1)


def test_the_status_is_five_fields(alice: Member) -> None:
    job = make_job(alice)

    assert alice.get(path(job, "/status")).body == {
        "id": str(job.id),
        "status": "queued",
        "kind": "batch",
        "progress_done": 0,
        "progress_total": 3,
    }


def test_cancelling(alice: Member) -> None:
    queued, running = make_job(alice), make_job(alice)
    claim = claimed(running)

    assert alice.post(path(queued, "/cancel")).body["status"] == "cancelled"
    assert [alice.post(path(running, "/cancel")).body["status"] for _ in range(2)] == ["running", "running"]
    completion.end_cancelled(claim)
    for job in (queued, running):
        reply = alice.post(path(job, "/cancel"))
        assert (reply.status, reply.code) == (409, "JOB_TERMINAL")


@pytest.mark.parametrize("body", [{"response": "blue"}, {"response": 1}, {}])
def test_a_job_that_asked_nothing_takes_no_answer(alice: Member, body: Any) -> None:
    reply = alice.post(path(make_job(alice), "/respond"), body)

    expected = (409, "JOB_NOT_WAITING") if body == {"response": "blue"} else (400, "BAD_REQUEST")
    assert (reply.status, reply.code) == expected


CALLS = [
    ("GET", ""),
    ("GET", "?wait=1"),
    ("GET", "/status"),
    ("GET", "/result"),
    ("GET", "/events"),
    ("POST", "/cancel"),
    ("POST", "/respond"),
]


@pytest.mark.parametrize(("method", "rest"), CALLS)
def test_ids_that_are_none_or_anothers(alice: Member, bob: Member, method: str, rest: str) -> None:
    job = make_job(alice)
    for wanted, status, code in (
        ("not-a-uuid", 400, "INVALID_ID"),
        (str(job.id).replace("-", ""), 400, "INVALID_ID"),
        (str(uuid.uuid4()), 404, "NOT_FOUND"),
        (str(job.id), 404, "NOT_FOUND"),
    ):
        reply = bob.get(f"/v1/jobs/{wanted}{rest}") if method == "GET" else bob.post(f"/v1/jobs/{wanted}{rest}", {})
        assert (reply.status, reply.code) == (status, code)
        assert reply.headers["X-Request-Id"] == reply.body["request_id"]
    assert reread(job).status == "queued"


@pytest.mark.parametrize(
    "query",
    [
        "?wait=0",
        "?wait=121",
        "?wait=-1",
        "?wait=1.5",
        "?wait=",
        "?wait=x",
        "?wait=%D9%A3",
        "/events?after=-1",
        "/events?after=x",
        "/events?after=99999999999",
        "/events?limit=0",
        "/events?limit=201",
    ],
)
def test_numbers_out_of_range_are_400(alice: Member, query: str) -> None:
    reply = alice.get(path(make_job(alice), query))

    assert (reply.status, reply.code) == (400, "BAD_REQUEST")
    assert reply.body["fields"]


@pytest.mark.parametrize("query", ["?status=done", "?kind=agent", "?limit=0", "?limit=201", "?cursor=x", "?status="])
def test_an_invalid_filter_is_400(alice: Member, query: str) -> None:
    assert alice.get(f"/v1/jobs{query}").code == "BAD_REQUEST"


def test_the_list_is_newest_first_filtered_and_paged(alice: Member, bob: Member) -> None:
    jobs = [make_job(alice, kind) for kind in ("batch", "crawl", "scrape", "batch")]
    make_job(bob)
    completion.complete(claimed(jobs[3]))

    def listed(query: str = "") -> list[str]:
        return [job["id"] for job in alice.get(f"/v1/jobs{query}").body["jobs"]]

    ids = [str(job.id) for job in jobs]
    assert listed() == ids[::-1]
    assert listed("?kind=batch") == [ids[3], ids[0]]
    assert listed("?kind=batch&status=completed") == [ids[3]]
    first = alice.get("/v1/jobs?limit=3").body
    assert [job["id"] for job in first["jobs"]] == ids[:0:-1]
    assert listed(f"?limit=3&cursor={first['next_cursor']}") == [ids[0]]
    assert alice.get("/v1/jobs").body["next_cursor"] is None


def test_events_are_told_in_order_and_in_pages(alice: Member) -> None:
    job = make_job(alice)
    claim = claimed(job, "a-host:1234")
    add_pages(claim, 0)
    completion.complete(claim)

    reply = alice.get(path(job, "/events"))
    events = reply.body["events"]

    assert [(event["seq"], event["type"]) for event in events] == [
        (1, "queued"),
        (2, "started"),
        (3, "page"),
        (4, "completed"),
    ]
    assert events[0]["data"].keys() == {"progress_total", "request_id"}  # nothing that is not known yet
    assert events[2]["data"] == {"position": 0, "url": "http://site.test/0", "status": "completed", "credits": 1}
    assert b"a-host" not in reply.content
    first = alice.get(path(job, "/events?limit=3")).body
    assert (len(first["events"]), first["next_cursor"]) == (3, "3")
    rest = alice.get(path(job, f"/events?after={first['next_cursor']}")).body
    assert ([event["seq"] for event in rest["events"]], rest["next_cursor"]) == ([4], None)


def test_a_finished_job_is_not_waited_for(alice: Member) -> None:
    job = make_job(alice, "scrape", pages=1, sync=True)
    completion.complete(Claim.of(job), page=page(0))

    assert alice.get(path(job, "?wait=120")).body["status"] == "completed"


@pytest.mark.parametrize(("method", "rest", "allowed"), [("POST", "", "GET"), ("GET", "/cancel", "POST")])
def test_other_methods_are_405(alice: Member, method: str, rest: str, allowed: str) -> None:
    job = make_job(alice)
    reply = alice.post(path(job, rest)) if method == "POST" else alice.get(path(job, rest))

    assert (reply.status, reply.code) == (405, "METHOD_NOT_ALLOWED")
    assert allowed in reply.headers["Allow"]


def test_operators_see_the_timeline_and_not_what_customers_asked_for(alice: Member, admin_client: Any) -> None:
    job = make_job(alice, params={"url": "http://private"})
    add_pages(claimed(job), 0)

    found = admin_client.get(f"/admin/jobs/job/{job.id}/change/").content.decode()
    listed = admin_client.get("/admin/jobs/job/").content.decode()

    assert "timeline" in found.lower() and "started" in found
    assert "http://private" not in found
    assert str(job.id) in listed
