"""Rows that are not what their events say are found, named and mended."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from apps.billing.models import Hold
from apps.jobs.models import Job, JobEvent
from apps.jobs.services import completion
from apps.jobs.verification import problems, rebuild
from tests.cast import Member, without_ledger_triggers
from tests.jobs.making import add_pages, claimed, make_job

pytestmark = pytest.mark.django_db


@pytest.fixture
def jobs(alice: Member, bob: Member) -> dict[str, Job]:
    """One of each sort; the crimes are against the completed one."""
    done, running, failed = make_job(alice), make_job(alice), make_job(bob)
    claim = claimed(done)
    add_pages(claim, 0, 1)
    completion.complete(claim)
    add_pages(claimed(running), 0)
    completion.fail(claimed(failed), code="TIMEOUT", message="too slow")
    return {"done": done, "running": running, "failed": failed, "queued": make_job(bob)}


def _set(**changes: Any) -> Callable[[Job], None]:
    def change(job: Job) -> None:
        Job.objects.filter(id=job.id).update(**changes)

    return change


def _change_history(job: Job) -> None:
    with without_ledger_triggers():
        JobEvent.objects.filter(job=job, seq=3).update(data={"credits": 7})


def _drop_an_event(job: Job) -> None:
    with without_ledger_triggers():
        JobEvent.objects.filter(job=job, seq=3).delete()


def _forge_a_fence(job: Job) -> None:
    with without_ledger_triggers():
        JobEvent.objects.filter(job=job, seq=4).update(fence=2)


def _empty_an_event(job: Job) -> None:
    with without_ledger_triggers():
        JobEvent.objects.filter(job=job, seq=5).update(data={})


def _change_the_capture(job: Job) -> None:
    with without_ledger_triggers():
        Hold.objects.filter(reference=job.hold_reference).update(captured=1)


def _reopen_the_hold(job: Job) -> None:
    with without_ledger_triggers():
        Hold.objects.filter(reference=job.hold_reference).update(status="open", captured=None, settled_at=None)


def _lose_the_hold(job: Job) -> None:
    with without_ledger_triggers():
        Hold.objects.filter(reference=job.hold_reference).delete()


def test_sound_jobs_are_said_to_be_sound(jobs: dict[str, Job]) -> None:
    out = io.StringIO()
    call_command("verify_jobs", stdout=out)

    assert out.getvalue() == "Every job is what its events say.\n"
    assert list(rebuild()) == []


@pytest.mark.parametrize(
    ("crime", "found"),
    [
        (_set(status="failed"), "its row says status = 'failed', its events 'completed'"),
        (_set(progress_done=3), "progress_done = 3, its events 2"),
        (_set(credits_charged=0), "credits_charged = 0, its events 2"),
        (_set(last_seq=4), "last_seq = 4, its events 5"),
        (_set(completed_at=None), "completed_at"),
        (_change_history, "credits_used = 2, its events 8"),
        (_drop_an_event, "event 4 follows event 2"),
        (_forge_a_fence, "event 4 has fence 2 after fence 1"),
        (_empty_an_event, "an event lacks 'credits_charged'"),
        (_change_the_capture, "2 credits were charged, its hold 1"),
        (_reopen_the_hold, "it is completed, its hold is open"),
        (_lose_the_hold, "has no hold"),
    ],
)
def test_every_crime_is_found_and_named(jobs: dict[str, Job], crime: Callable[[Job], None], found: str) -> None:
    crime(jobs["done"])

    errors = io.StringIO()
    with pytest.raises(CommandError, match="1 job"):
        call_command("verify_jobs", stderr=errors)
    assert f"job {jobs['done'].id}: " in errors.getvalue()
    assert found in errors.getvalue()


def test_rows_are_rewritten_from_their_events(jobs: dict[str, Job]) -> None:
    before = list(Job.objects.order_by("id").values())
    Job.objects.update(
        status="cancelled", progress_done=9, credits_charged=5, owner="", claim_until=None, result={"a": 1}, fence=7
    )

    out = io.StringIO()
    call_command("rebuild_jobs", stdout=out)

    assert "4 job(s) were rewritten." in out.getvalue()
    assert list(problems()) == []
    for old, new in zip(before, Job.objects.order_by("id").values(), strict=True):
        assert {**old, "claim_until": None} == {**new, "claim_until": None}


def test_events_that_cannot_be_folded_are_left_alone(jobs: dict[str, Job]) -> None:
    _drop_an_event(jobs["done"])

    assert list(rebuild()) == []
    assert len(list(problems())) == 1
