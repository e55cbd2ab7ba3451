"""One job, one worker: claims, heartbeats, fencing."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.db import DatabaseError, connection, transaction

from apps.jobs.lifecycle import IllegalEvent
from apps.jobs.models import Job, JobPage
from apps.jobs.services import claims, completion, event_log, progress
from apps.jobs.services.claims import Claim, ClaimLost
from apps.jobs.services.event_log import LostRace, NewEvent
from tests.cast import Member, at_once, join
from tests.jobs.making import add_pages, after_the_claim, claimed, make_job, now, page, reread, story

pytestmark = pytest.mark.django_db


def test_a_queued_job_is_claimed_once(alice: Member) -> None:
    job = make_job(alice)

    claim = claimed(job, "a")

    assert claim == Claim(job.id, alice.workspace.id, "a", fence=1)
    assert claims.claim(job_id=job.id, owner="b") is None
    assert (reread(job).status, reread(job).owner) == ("running", "a")
    assert story(job) == ["queued", "started"]


def test_an_unknown_job_cannot_be_claimed(db: None) -> None:
    assert claims.claim(job_id=uuid.uuid4(), owner="a") is None


@pytest.mark.django_db(transaction=True)
def test_one_of_many_concurrent_claims_succeeds() -> None:
    job = make_job(join("alice"))

    won = at_once(8, lambda number: claims.claim(job_id=job.id, owner=f"w{number}"))

    assert len([claim for claim in won if claim]) == 1
    assert story(job) == ["queued", "started"]


@pytest.mark.django_db(transaction=True)
def test_one_of_many_concurrent_takeovers_succeeds() -> None:
    job = make_job(join("alice"))
    claimed(job)

    later = after_the_claim()
    won = at_once(8, lambda number: claims.claim(job_id=job.id, owner=f"w{number}", now=later))

    assert [claim.fence for claim in won if claim] == [2]
    assert story(job) == ["queued", "started", "requeued", "started"]


def test_a_claim_with_heartbeats_is_not_given_away(alice: Member) -> None:
    job = make_job(alice)
    claim = claimed(job, "a")
    later = after_the_claim()

    claims.heartbeat(claim, now=later - timedelta(seconds=2))

    assert claims.claim(job_id=job.id, owner="b", now=later) is None
    assert claimed(job, "b", at=later + timedelta(seconds=15)).fence == 2


STALE_WRITES: list[Callable[[Claim], object]] = [
    claims.heartbeat,
    claims.give_back,
    lambda claim: progress.record_page(claim, page(1)),
    lambda claim: progress.progress(claim, done=2),
    lambda claim: progress.attach(claim, agent_id="agt_1"),
    completion.complete,
    lambda claim: completion.complete(claim, page=page(1)),
    lambda claim: completion.fail(claim, code="INTERNAL_ERROR", message=""),
    completion.end_cancelled,
]


@pytest.mark.parametrize("write", STALE_WRITES)
@pytest.mark.parametrize("since", ["taken over", "requeued", "completed", "cancelled"])
def test_a_stale_owner_changes_no_row(alice: Member, write: Callable[[Claim], object], since: str) -> None:
    job = make_job(alice)
    stale = claimed(job)
    if since == "taken over":
        claimed(job, at=after_the_claim())
    elif since == "requeued":
        claims.give_back(stale)
    elif since == "completed":
        completion.complete(stale)
    else:
        completion.end_cancelled(stale)
    before = (Job.objects.values().get(id=job.id), story(job), alice.credits(), alice.events())

    with pytest.raises(ClaimLost), transaction.atomic():
        write(stale)

    assert (Job.objects.values().get(id=job.id), story(job), alice.credits(), alice.events()) == before
    assert not JobPage.objects.exists()


def test_a_worker_that_stops_gives_its_job_back(alice: Member) -> None:
    job = make_job(alice)
    claim = claimed(job, "a")
    add_pages(claim, 0)

    claims.give_back(claim)

    row = reread(job)
    assert (row.status, row.owner, row.claim_until, row.attempts, row.progress_done) == ("queued", "", None, 0, 1)
    assert claimed(job, "b").fence == 2


def test_a_workspace_runs_few_bulk_jobs_at_once_and_any_number_of_others(
    alice: Member, bob: Member, settings: LazySettings
) -> None:
    settings.BULK_JOBS_PER_WORKSPACE = 1
    first, second = make_job(alice, "batch"), make_job(alice, "crawl")
    first_claim = claimed(first)

    assert claims.claim(job_id=second.id, owner="w") is None
    claimed(make_job(alice, "scrape"))
    claimed(make_job(bob, "batch"))

    completion.complete(first_claim)
    claimed(second)


@pytest.mark.django_db(transaction=True)
def test_claims_at_once_keep_to_the_workspaces_cap() -> None:
    alice = join("alice")
    jobs, at = [make_job(alice) for _ in range(8)], now()

    won = at_once(8, lambda number: claims.claim(job_id=jobs[number].id, owner="w", now=at))

    assert len([claim for claim in won if claim]) == 2


def test_a_sync_job_is_claimed_by_its_creator(alice: Member) -> None:
    job = make_job(alice, "scrape", pages=1, sync=True)
    claim = Claim.of(job)

    assert story(job) == ["queued", "started"]
    assert claims.claim(job_id=job.id, owner="w") is None
    claims.heartbeat(claim)
    completion.complete(claim, page=page(0))
    assert alice.credits() == (99, 0)


def test_a_row_that_has_moved_is_not_written(alice: Member) -> None:
    job = make_job(alice)
    seen = event_log.lock(job.id)
    claimed(job)

    with pytest.raises(LostRace), transaction.atomic():
        event_log.append(seen, NewEvent("cancelled", {"credits_charged": 0}))


def test_an_illegal_event_is_a_bug(alice: Member) -> None:
    job = event_log.lock(make_job(alice).id)

    with pytest.raises(IllegalEvent), transaction.atomic():
        event_log.append(job, NewEvent("completed", {"credits_charged": 0}))


@pytest.mark.parametrize(
    "forbidden",
    [
        "UPDATE jobs_jobevent SET data = '{}'",
        "UPDATE jobs_jobevent SET seq = seq",
        "DELETE FROM jobs_jobevent",
        "TRUNCATE jobs_jobevent CASCADE",
        "UPDATE jobs_jobpage SET status = 'completed'",
        "INSERT INTO jobs_jobevent (job_id, seq, type, data, fence, created_at)"
        " SELECT job_id, seq, type, data, fence, created_at FROM jobs_jobevent",
        "UPDATE jobs_job SET lease_until = NULL",
        "UPDATE jobs_job SET status = 'completed'",
    ],
)
def test_the_database_itself_refuses(alice: Member, forbidden: str) -> None:
    add_pages(claimed(make_job(alice)), 0)

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(forbidden)


def test_a_page_done_twice_counts_and_charges_once(alice: Member) -> None:
    job = make_job(alice)
    add_pages(claimed(job), 0, 1)
    second = claimed(job, at=after_the_claim())

    assert not progress.record_page(second, page(1, text="another"))
    assert progress.record_page(second, page(2, failed=True))
    completion.complete(second)

    row = reread(job)
    assert (row.progress_done, row.credits_charged, alice.credits()) == (3, 2, (98, 0))
    assert story(job).count("page") == 3
    assert "text" not in JobPage.objects.get(position=1).payload


def test_text_that_json_columns_cannot_hold_is_kept(alice: Member) -> None:
    text = "\x00 \ud800 é"

    progress.record_page(claimed(make_job(alice)), page(0, text=text))

    assert JobPage.objects.get().payload["text"] == text


def test_a_crawl_says_how_far_it_is(alice: Member) -> None:
    job = make_job(alice, "crawl")
    claim = claimed(job, at=now())

    progress.progress(claim, total=17)
    progress.attach(claim, agent_id="agt_1", live_url="http://live")

    row = reread(job)
    assert (row.progress_total, row.progress_done, row.agent_id, row.live_url) == (17, 0, "agt_1", "http://live")
