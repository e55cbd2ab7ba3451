"""A job under random operations by several workers, in any legal and illegal order, against a model of a few lines."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from apps.billing.models import CreditAccount
from apps.billing.verification import problems as ledger_problems
from apps.core.errors import JobTerminal
from apps.jobs.lifecycle import IllegalEvent
from apps.jobs.models import JobEvent
from apps.jobs.services import claims, completion, event_log, progress, sweeps
from apps.jobs.services.claims import Claim, ClaimLost
from apps.jobs.services.event_log import NewEvent
from apps.jobs.verification import problems
from tests.cast import Member, join
from tests.jobs.making import make_job, now, page, reread

PAGES = 4
OVER = ("completed", "failed", "cancelled")
_names = count()
which_claim = st.integers(0, 3)


class OneJob(RuleBasedStateMachine):
    """`status`, `held_by`, `claim_until`, `stored` … are the model; all claims are kept and used when stale."""

    def __init__(self) -> None:
        super().__init__()
        self.rolled_back = transaction.atomic()
        self.rolled_back.__enter__()

    def teardown(self) -> None:
        assert list(problems()) == []
        assert list(ledger_problems()) == []
        transaction.set_rollback(True)
        self.rolled_back.__exit__(None, None, None)

    @initialize(sync=st.booleans())
    def create(self, sync: bool) -> None:
        self.alice: Member = join(f"alice {next(_names)}")
        self.clock: datetime = now()
        self.job = make_job(self.alice, "scrape" if sync else "batch", pages=PAGES, sync=sync, now=self.clock)
        self.claims: list[Claim] = [Claim.of(self.job)] if sync else []
        self.held_by: Claim | None = self.claims[0] if sync else None
        self.claim_until = self.clock + timedelta(seconds=15)
        self.status = "running" if sync else "queued"
        self.seen: set[int] = set()
        self.stored: set[int] = set()
        self.charged = self.lost = 0
        self.cancelling = False

    @rule(seconds=st.sampled_from([1, 9, 16]))
    def time_passes(self, seconds: int) -> None:
        self.clock += timedelta(seconds=seconds)

    @rule(owner=st.sampled_from("ab"))
    def claim(self, owner: str) -> None:
        expired = self.status == "running" and self.claim_until < self.clock
        claim = claims.claim(job_id=self.job.id, owner=owner, now=self.clock)
        assert (claim is not None) == (self.status == "queued" or (expired and self.lost < 4))
        if claim is not None:
            self.lost += expired
            self.claims.append(claim)
            self.held_by, self.status, self.claim_until = claim, "running", self.clock + timedelta(seconds=15)

    @rule()
    def reap(self) -> None:
        expired = self.status == "running" and self.claim_until < self.clock
        assert sweeps.reap(now=self.clock) == expired
        if expired and self.cancelling:
            self.over("cancelled", len(self.stored))
        elif expired and self.lost == 4:
            self.over("failed", len(self.stored))
        elif expired:
            self.lost += 1
            self.held_by, self.status = None, "queued"

    @rule()
    def cancel(self) -> None:
        if self.status in OVER:
            with pytest.raises(JobTerminal):
                completion.cancel(workspace_id=self.alice.workspace.id, job_id=self.job.id)
            return
        completion.cancel(workspace_id=self.alice.workspace.id, job_id=self.job.id)
        self.cancelling = True
        if self.status == "queued":
            self.over("cancelled", len(self.stored))

    @rule(by=which_claim)
    def heartbeat(self, by: int) -> None:
        if self.write(by, lambda claim: claims.heartbeat(claim, now=self.clock)):
            self.claim_until = self.clock + timedelta(seconds=15)

    @rule(by=which_claim, position=st.integers(0, PAGES - 1), failed=st.booleans())
    def store_a_page(self, by: int, position: int, failed: bool) -> None:
        fresh = position not in self.seen
        if self.write(by, lambda claim: self.expect(fresh, claim, position, failed)) and fresh:
            self.lost = 0
            self.seen.add(position)
            if not failed:
                self.stored.add(position)

    def expect(self, fresh: bool, claim: Claim, position: int, failed: bool) -> None:
        assert progress.record_page(claim, page(position, failed=failed)) == fresh

    @rule(by=which_claim)
    def give_back(self, by: int) -> None:
        if self.write(by, lambda claim: claims.give_back(claim, now=self.clock)):
            self.held_by, self.status = None, "queued"

    @rule(by=which_claim)
    def complete(self, by: int) -> None:
        if self.write(by, completion.complete):
            self.over("completed", len(self.stored))

    @rule(by=which_claim, used=st.sampled_from([0, 1, None]))
    def fail(self, by: int, used: int | None) -> None:
        if self.write(by, lambda claim: completion.fail(claim, code="TIMEOUT", message="", used=used)):
            self.over("failed", len(self.stored) if used is None else used)

    @rule(by=which_claim)
    def end_cancelled(self, by: int) -> None:
        if self.write(by, completion.end_cancelled):
            self.over("cancelled", len(self.stored))

    @precondition(lambda self: self.status in OVER)
    @rule(event=st.sampled_from(["started", "page", "cancel_requested", "requeued", "completed", "failed", "queued"]))
    def nothing_follows_the_end(self, event: str) -> None:
        with pytest.raises(IllegalEvent), transaction.atomic():
            happened = NewEvent(event, {"owner": "a", "reason": "lease_expired", "credits_charged": 0})  # type: ignore[arg-type]
            event_log.append(event_log.lock(self.job.id), happened)

    def write(self, by: int, act: Callable[[Claim], object]) -> bool:
        """By one of the claims ever given. Whether the model says that it may."""
        if not self.claims:
            return False
        claim = self.claims[-1 - by % len(self.claims)]
        if claim == self.held_by:
            act(claim)
            return True
        with pytest.raises(ClaimLost), transaction.atomic():
            act(claim)
        return False

    def over(self, status: str, charged: int) -> None:
        self.status, self.charged, self.held_by = status, charged, None

    @invariant()
    def the_row_is_as_the_model(self) -> None:
        if not hasattr(self, "job"):
            return
        row = reread(self.job)
        assert (row.status, row.owner) == (self.status, self.held_by.owner if self.held_by else "")
        assert (row.progress_done, row.credits_used) == (len(self.seen), len(self.stored))
        assert (row.credits_charged, row.attempts) == (self.charged, self.lost)
        assert (row.cancel_requested_at is not None) == (self.cancelling and "cancel_requested" in self.types())
        assert self.types().count("page") == len(self.seen)

    @invariant()
    def the_books_are_right(self) -> None:
        if hasattr(self, "job"):
            held = 0 if self.status in OVER else PAGES
            account = CreditAccount.objects.get(workspace=self.alice.workspace)
            assert (account.balance, account.held) == (100 - self.charged, held)

    def types(self) -> list[str]:
        return list(JobEvent.objects.filter(job_id=self.job.id).order_by("seq").values_list("type", flat=True))


def any_order_keeps_everything_together(examples: int) -> None:
    bounded = settings(
        max_examples=examples,
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    run_state_machine_as_test(OneJob, settings=bounded)


@pytest.mark.django_db
def test_any_order_of_operations_keeps_the_row_the_events_and_the_books_together() -> None:
    any_order_keeps_everything_together(examples=12)  # many more: tests/faults
