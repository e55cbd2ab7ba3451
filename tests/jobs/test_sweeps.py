"""What happens to jobs that no message names and no worker holds."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest
import redis
from django.conf import settings

from apps.jobs import selectors
from apps.jobs.kinds import BATCHES
from apps.jobs.models import Job
from apps.jobs.services import claims, completion, progress, sweeps
from apps.jobs.services.claims import Claim
from tests.cast import Member, at_once, join
from tests.jobs.making import add_pages, after_the_claim, claimed, make_job, now, page, reread, story

pytestmark = pytest.mark.django_db

LATER = timedelta(seconds=6)


@pytest.fixture
def messages(transactional_db: None) -> redis.Redis:
    server = redis.Redis.from_url(settings.REDIS_URL)
    server.delete("default", "bulk", "tasks")
    return server


def sent(server: redis.Redis, queue: str) -> list[list[str]]:
    """The ids that wait in the queue, oldest last."""
    return [
        json.loads(json.loads(raw)["headers"]["argsrepr"].replace("('", '["').replace("',)", '"]'))
        for raw in server.lrange(queue, 0, -1)
    ]


def test_a_message_carries_the_id_alone_in_the_queue_of_its_lane(messages: redis.Redis) -> None:
    alice = join("alice")
    scrape, batch = make_job(alice, "scrape", params={"url": "http://secret"}), make_job(alice, "batch")

    assert (sent(messages, "default"), sent(messages, "bulk")) == ([[str(scrape.id)]], [[str(batch.id)]])
    assert b"secret" not in b"".join(messages.lrange("default", 0, -1))
    messages.close()


def test_a_job_that_is_given_back_is_offered_at_once(messages: redis.Redis) -> None:
    job = make_job(join("alice"))
    messages.delete("bulk")

    claims.give_back(claimed(job))

    assert sent(messages, "bulk") == [[str(job.id)]]
    messages.close()


def test_a_job_whose_message_was_lost_gets_another(messages: redis.Redis) -> None:
    job = make_job(join("alice"))
    messages.delete("bulk")

    asked = reread(job).enqueued_at
    assert asked is not None

    assert sweeps.relay(now=asked + sweeps.RESEND_AFTER) == 0
    assert sum(at_once(4, lambda _: sweeps.relay(now=asked + LATER))) == 1
    assert sent(messages, "bulk") == [[str(job.id)]]
    assert sweeps.relay(now=asked + 2 * LATER) == 1
    messages.close()


def test_what_runs_or_is_over_is_not_relayed(alice: Member) -> None:
    claimed(make_job(alice))
    completion.complete(claimed(make_job(alice)))

    assert sweeps.relay(now=now() + LATER) == 0


def test_a_lost_job_goes_back_and_on_from_its_pages(messages: redis.Redis) -> None:
    alice = join("alice")
    job = make_job(alice)
    add_pages(claimed(job, "dead"), 0, 1)
    messages.delete("bulk")

    assert sweeps.reap(now=reread(job).claim_until) == 0
    assert sum(at_once(4, lambda _: sweeps.reap(now=after_the_claim()))) == 1

    assert sent(messages, "bulk") == [[str(job.id)]]
    assert selectors.positions_done(job_id=job.id) == {0, 1}
    heir = claimed(job, "alive")
    add_pages(heir, 2)
    completion.complete(heir)
    assert (reread(job).progress_done, alice.credits()) == (3, (97, 0))
    messages.close()


def lose(job: Job, times: int, at: datetime) -> datetime:
    for _ in range(times):
        claimed(job, at=at)
        at += timedelta(seconds=16)
        assert sweeps.reap(now=at) == 1
    return at


def test_five_losses_in_a_row_are_the_end(alice: Member) -> None:
    job = make_job(alice)
    add_pages(claimed(job), 0)
    at = after_the_claim()
    assert sweeps.reap(now=at) == 1

    lose(job, 4, at)

    row = reread(job)
    assert (row.status, row.error_code, row.credits_charged) == ("failed", "INTERNAL_ERROR", 1)
    assert alice.credits() == (99, 0)
    assert [kind for kind, _ in alice.events()] == ["job.failed"]


def test_progress_resets_the_count_of_losses(alice: Member) -> None:
    job = make_job(alice)
    at = lose(job, 4, now())
    claim = claimed(job, at=at)
    add_pages(claim, 0)

    at += timedelta(seconds=16)
    sweeps.reap(now=at)

    assert (reread(job).status, reread(job).attempts) == ("queued", 1)


def test_a_lost_job_that_was_to_be_cancelled_is(alice: Member) -> None:
    job = make_job(alice)
    add_pages(claimed(job), 0)
    completion.cancel(workspace_id=alice.workspace.id, job_id=job.id)

    sweeps.reap(now=after_the_claim())

    assert (reread(job).status, alice.credits()) == ("cancelled", (99, 0))


def test_a_lost_task_is_taken_over_and_finally_fails_free_of_charge(
    alice: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "JOB_MAX_ATTEMPTS", 2)
    job = make_job(alice, "task")
    claimed(job)

    sweeps.reap(now=after_the_claim())
    assert reread(job).status == "queued"
    claimed(job, "another")
    sweeps.reap(now=after_the_claim())

    assert (reread(job).status, reread(job).error_code, alice.credits()) == ("failed", "INTERNAL_ERROR", (100, 0))


def test_a_sync_job_whose_api_died_is_finished_by_a_worker_and_fires_no_event(alice: Member) -> None:
    job = make_job(alice, "scrape", pages=1, sync=True)
    dead = Claim.of(job)

    sweeps.reap(now=after_the_claim())
    completion.complete(claimed(job, "worker"), page=page(0))

    assert (reread(job).status, alice.credits(), alice.events()) == ("completed", (99, 0), [])
    with pytest.raises(claims.ClaimLost):
        progress.record_page(dead, page(0))
    assert story(job) == ["queued", "started", "requeued", "started", "page", "completed"]


def test_reminders_and_losses_cost_no_job_its_place(alice: Member) -> None:
    first, *others = (make_job(alice) for _ in range(8))
    claimed(first)
    sweeps.reap(now=after_the_claim())
    assert selectors.next_waiting(lane=BATCHES) == first.id
    assert sweeps.relay(now=after_the_claim() + LATER) == 8

    for job in (first, *others):
        assert selectors.next_waiting(lane=BATCHES) == job.id
        completion.complete(claimed(job), used=0, result={})


def test_the_next_is_the_oldest_of_the_workspace_with_the_fewest_running(alice: Member, bob: Member) -> None:
    busy, waiting = make_job(alice), make_job(alice)
    claimed(busy)
    first, _ = make_job(bob), make_job(bob)

    assert selectors.next_waiting(lane=BATCHES) == first.id
    claimed(first)
    assert selectors.next_waiting(lane=BATCHES) == waiting.id
    claimed(waiting)
    assert selectors.next_waiting(lane=BATCHES) != waiting.id
