"""How jobs end: the money and the webhook event in the same transaction as the status."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from apps.core.errors import InsufficientCredit, JobTerminal, NotFound
from apps.jobs import results
from apps.jobs.models import Job
from apps.jobs.services import completion, progress
from apps.jobs.services.claims import Claim
from tests.cast import Member
from tests.jobs.making import add_pages, claimed, make_job, page, reread, story

pytestmark = pytest.mark.django_db


@pytest.fixture
def rows_are_results(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(job: Job) -> dict[str, Any]:
        return {"urls": [stored.payload["url"] for stored in job.pages.order_by("position")]}

    monkeypatch.setitem(results.BUILDERS, "batch", build)


def test_a_job_without_credits_for_it_is_not_made(alice: Member) -> None:
    with pytest.raises(InsufficientCredit):
        make_job(alice, pages=101)

    assert not Job.objects.exists()


def test_what_was_used_is_charged_and_the_rest_released(alice: Member, rows_are_results: None) -> None:
    job = make_job(alice)
    assert alice.credits() == (100, 3)
    claim = claimed(job)
    add_pages(claim, 1, 0)

    completion.complete(claim)

    assert alice.credits() == (98, 0)
    assert alice.events() == [
        (
            "job.completed",
            {
                "job_id": str(job.id),
                "kind": "batch",
                "progress_done": 2,
                "progress_total": 3,
                "credits_charged": 2,
                "result": {"urls": ["http://site.test/0", "http://site.test/1"]},
            },
        )
    ]


def test_a_large_result_is_only_named_in_the_event(alice: Member, rows_are_results: None) -> None:
    claim = claimed(make_job(alice))
    progress.record_page(claim, page(0, text="x" * results.EVENT_LIMIT))
    progress.record_page(claim, page(1, failed=True))

    job = completion.complete(claim)

    assert alice.events()[0][1]["result"] == {
        "truncated": True,
        "completed": 1,
        "failed": 1,
        "result_url": results.url(job),
    }


def test_a_result_of_its_own_is_in_the_row_and_the_event(alice: Member) -> None:
    job = make_job(alice, "task")

    completion.complete(claimed(job), used=3, result={"final_result": "42"})

    assert reread(job).result == alice.events()[0][1]["result"] == {"final_result": "42"}
    assert alice.credits() == (97, 0)


def test_a_result_too_large_for_an_event_is_refused(alice: Member) -> None:
    claim = claimed(make_job(alice, "task"))

    with pytest.raises(ValueError, match="must be stored as pages"):
        completion.complete(claim, result={"text": "x" * completion.MAX_RESULT_BYTES})


def test_a_failure_is_free_unless_said_otherwise(alice: Member) -> None:
    first, second = make_job(alice), make_job(alice)
    for job, used in ((first, 0), (second, None)):
        claim = claimed(job)
        add_pages(claim, 0)
        completion.fail(claim, code="TIMEOUT", message="too slow" * 1000, used=used)

    assert [reread(job).credits_charged for job in (first, second)] == [0, 1]
    assert alice.credits() == (99, 0)
    kind, data = alice.events()[0]
    assert kind == "job.failed"
    assert data.keys() == {"job_id", "kind", "error_code", "error_message"}
    assert (data["error_code"], len(data["error_message"])) == ("TIMEOUT", 2000)


def test_a_sync_job_fires_no_event(alice: Member) -> None:
    completion.complete(Claim.of(make_job(alice, "scrape", sync=True)), page=page(0))
    completion.fail(
        Claim.of(make_job(alice, "scrape", sync=True)), code="TIMEOUT", message="", page=page(0, failed=True)
    )

    assert alice.events() == []
    assert alice.credits() == (99, 0)


def test_a_queued_job_is_cancelled_at_once_and_free(alice: Member) -> None:
    job = make_job(alice)

    assert completion.cancel(workspace_id=alice.workspace.id, job_id=job.id).status == "cancelled"

    told = {
        "job_id": str(job.id),
        "kind": "batch",
        "error_code": "CANCELLED",
        "error_message": "The job was cancelled.",
    }
    assert (alice.credits(), alice.events()) == ((100, 0), [("job.failed", told)])
    assert story(job) == ["queued", "cancelled"]
    assert (reread(job).error_code, reread(job).error_message) == ("CANCELLED", "The job was cancelled.")


def test_a_running_job_is_asked_to_stop_and_pays_for_what_it_finished(alice: Member) -> None:
    job = make_job(alice)
    claim = claimed(job)
    add_pages(claim, 0)

    for _ in range(2):
        assert completion.cancel(workspace_id=alice.workspace.id, job_id=job.id).status == "running"
    completion.end_cancelled(claim)

    assert story(job) == ["queued", "started", "page", "cancel_requested", "cancelled"]
    assert alice.credits() == (99, 0)


def test_finished_and_unknown_jobs_cannot_be_cancelled(alice: Member, bob: Member) -> None:
    job = make_job(alice)
    with pytest.raises(NotFound):
        completion.cancel(workspace_id=bob.workspace.id, job_id=job.id)
    with pytest.raises(NotFound):
        completion.cancel(workspace_id=alice.workspace.id, job_id=uuid.uuid4())
    completion.complete(claimed(job))
    with pytest.raises(JobTerminal, match="already completed"):
        completion.cancel(workspace_id=alice.workspace.id, job_id=job.id)


def test_more_than_was_held_cannot_be_charged(alice: Member) -> None:
    claim = claimed(make_job(alice))

    with pytest.raises(ValueError, match="of 3 held"):
        completion.complete(claim, used=4)
