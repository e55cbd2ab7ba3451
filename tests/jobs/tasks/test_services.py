"""What is written down of a task: steps with their price and sealed state, questions, answers, ends in time."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings

from apps.agents.models import Agent
from apps.agents.selectors import burner_count
from apps.agents.services import task_browsers as agents
from apps.agents.services.provisioning import ProvisionRequest
from apps.billing import services as billing
from apps.billing.models import Price
from apps.core import sealing
from apps.core.errors import JobNotWaiting, NotFound
from apps.jobs import selectors, verification
from apps.jobs.kinds import TASKS
from apps.jobs.models import Job, StepScreenshot, TaskRun
from apps.jobs.services import claims, completion
from apps.jobs.services.claims import Claim, ClaimLost
from apps.jobs.tasks import selectors as task_selectors
from apps.jobs.tasks import services, sweeps
from apps.jobs.tasks.services import StepRecord
from tests.cast import Member
from tests.jobs.making import after_the_claim, claimed, now, reread, story

pytestmark = pytest.mark.django_db

PARAMS: dict[str, Any] = {"task": "x", "max_steps": 7, "wallclock_seconds": 60}
MINUTE = timedelta(seconds=60)


def begun(member: Member, **params: Any) -> Job:
    return services.begin(workspace_id=member.workspace.id, params={**PARAMS, **params}, key="sk-1")


def step(number: int, state: bytes = b"state") -> StepRecord:
    return StepRecord(number, {"url": f"http://site.test/{number}", "tokens": {"input": 10, "output": 1}}, state)


def stepped(claim: Claim, *numbers: int) -> None:
    for number in numbers:
        services.begin_step(claim, number=number)
        services.record_step(claim, step(number))


def test_steps_are_counted_and_every_third_pays_for_itself_and_two_more(alice: Member) -> None:
    job = begun(alice)
    claim = claimed(job)
    services.resume(claim, wallclock=MINUTE)

    stepped(claim, 1, 2, 3, 4)

    assert (reread(job).step_count, reread(job).progress_done, reread(job).credits_used) == (4, 4, 2)
    completion.complete(claim, result={"final_result": "done"})
    assert alice.credits() == (98, 0)
    assert reread(job).credits_charged == 2
    assert task_selectors.token_usage(job_id=job.id) == (40, 4)
    assert list(verification.problems()) == []


@pytest.fixture
def abroad(settings: LazySettings) -> None:
    settings.EGRESS_COUNTRIES, settings.DEFAULT_COUNTRY = {"us": "direct", "de": "direct"}, "us"


def test_a_country_other_than_the_default_costs_once_when_the_browser_runs(alice: Member, abroad: None) -> None:
    job = begun(alice, country="de")
    claim = claimed(job)
    assert (alice.credits(), reread(job).credits_used) == ((100, 4), 0)

    for agent_id in ("agt_1", "agt_2"):  # the second one replaces the first one
        services.attach(claim, agent_id=agent_id, live_url="http://live")
    stepped(claim, 1)

    assert (reread(job).agent_id, reread(job).credits_used) == ("agt_2", 2)
    completion.complete(claim, result={})
    assert (alice.credits(), reread(job).credits_charged) == ((98, 0), 2)
    assert list(verification.problems()) == []


def test_a_task_abroad_that_fails_by_our_fault_or_before_its_browser_ran_is_free(alice: Member, abroad: None) -> None:
    ours, early = begun(alice, country="de"), begun(alice, country="de")
    claim = claimed(ours)
    services.attach(claim, agent_id="agt_1", live_url="")

    completion.fail(claim, code="INTERNAL_ERROR", message="x", used=0)
    completion.cancel(workspace_id=alice.workspace.id, job_id=early.id)

    assert alice.credits() == (100, 0)


def test_the_default_country_and_ones_own_agent_cost_no_more(
    alice: Member, abroad: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services.agent_selectors, "running_agent", lambda **_: None)
    for params in ({"country": "us"}, {"country": "de", "agent_id": "agt_mine"}, {}):
        job = begun(alice, **params)
        services.attach(claimed(job), agent_id="agt_1", live_url="")
        assert reread(job).credits_used == 0

    assert alice.credits() == (100, 9)


def test_the_operator_sets_the_price_of_a_country(alice: Member, abroad: None) -> None:
    Price.objects.update_or_create(key="country_surcharge", defaults={"credits": 5})
    job = begun(alice, country="de")
    Price.objects.update_or_create(key="country_surcharge", defaults={"credits": 7})  # begun work keeps its prices

    services.attach(claimed(job), agent_id="agt_1", live_url="")

    assert (reread(job).credits_used, alice.credits()) == (5, (100, 8))


def test_a_step_is_recorded_in_its_turn_only(alice: Member) -> None:
    claim = claimed(begun(alice))
    stepped(claim, 1)

    for number in (1, 3):
        with pytest.raises(ValueError, match="follows"):
            services.record_step(claim, step(number))


def test_a_worker_that_lost_its_claim_can_neither_act_nor_record(alice: Member) -> None:
    job = begun(alice)
    stale = claimed(job)
    fresh = claimed(job, "another", at=after_the_claim())

    with pytest.raises(ClaimLost):
        services.begin_step(stale, number=1)
    with pytest.raises(ClaimLost):
        services.record_step(stale, step(1))
    stepped(fresh, 1)
    assert reread(job).step_count == 1


def test_another_worker_finds_the_state_and_the_deadline_of_the_first(alice: Member) -> None:
    job = begun(alice)
    first = services.resume(claimed(job), wallclock=MINUTE)
    assert (first.state, first.acting_step, first.human_answer, first.hold_open) == (None, 0, None, True)
    stepped(Claim.of(reread(job)), 1)
    services.begin_step(Claim.of(reread(job)), number=2)

    second = services.resume(claimed(job, "another", at=after_the_claim()), wallclock=MINUTE)

    assert (second.state, second.acting_step) == (b"state", 2)
    assert second.deadline_at == first.deadline_at


def test_the_state_is_sealed_for_its_job(alice: Member) -> None:
    job, other = begun(alice), begun(alice)
    stepped(claimed(job), 1)
    sealed = TaskRun.objects.get(job=job).sealed_state
    assert sealed is not None and b"state" not in bytes(sealed)

    TaskRun.objects.filter(job=other).update(sealed_state=sealed)
    with pytest.raises(sealing.Unreadable):
        services.resume(claimed(other), wallclock=MINUTE)


def test_a_question_stops_the_clock_and_frees_the_worker(alice: Member) -> None:
    job, began = begun(alice), now()
    claim = claimed(job)
    services.resume(claim, wallclock=MINUTE, now=began)
    services.ask(claim, step(1), question="Which?", now=began + timedelta(seconds=20))

    asking = reread(job)
    assert (asking.status, asking.owner, asking.claim_until) == ("input_required", "", None)
    assert asking.input_request is not None and asking.input_request["question"] == "Which?"
    assert alice.events()[-1] == (
        "job.input_required",
        {"job_id": str(job.id), "kind": "task", "live_url": None, "input_request": asking.input_request},
    )
    services.respond(
        workspace_id=alice.workspace.id, job_id=job.id, response="This one.", now=began + timedelta(hours=1)
    )
    later = began + timedelta(hours=1, seconds=5)
    again = services.resume(claimed(job, at=later), wallclock=MINUTE, now=later)
    assert again.human_answer == "This one."
    assert again.deadline_at == later + timedelta(seconds=40)
    assert story(job) == ["queued", "started", "step", "input_requested", "input_responded", "started"]
    assert list(verification.problems()) == []


def test_an_answer_is_kept_sealed_until_the_next_step_has_read_it(alice: Member) -> None:
    job = begun(alice)
    services.resume(claimed(job), wallclock=MINUTE)
    services.ask(Claim.of(reread(job)), step(1), question="The code?")
    services.respond(workspace_id=alice.workspace.id, job_id=job.id, response="open sesame")

    sealed = TaskRun.objects.get(job=job).sealed_answer
    assert sealed is not None and b"sesame" not in bytes(sealed)
    assert "sesame" not in str(list(reread(job).events.values_list("data", flat=True)))
    stepped(claimed(job), 2)
    assert TaskRun.objects.get(job=job).sealed_answer is None


def test_only_who_asks_gets_an_answer_and_only_from_its_owner(alice: Member, bob: Member) -> None:
    job = begun(alice)
    with pytest.raises(JobNotWaiting):
        services.respond(workspace_id=alice.workspace.id, job_id=job.id, response="x")
    services.resume(claimed(job), wallclock=MINUTE)
    services.ask(Claim.of(reread(job)), step(1), question="Which?")

    with pytest.raises(NotFound):
        services.respond(workspace_id=bob.workspace.id, job_id=job.id, response="x")
    with pytest.raises(NotFound):
        services.respond(workspace_id=bob.workspace.id, job_id=uuid.uuid4(), response="x")
    assert reread(job).status == "input_required"


def test_a_question_without_an_answer_ends_the_task(alice: Member) -> None:
    job = begun(alice)
    services.resume(claimed(job), wallclock=MINUTE)
    expires_at = services.ask(Claim.of(reread(job)), step(1), question="Which?")

    assert sweeps.end_overdue(now=expires_at - timedelta(seconds=2)) == 0
    assert sweeps.end_overdue(now=expires_at) == 1
    assert sweeps.end_overdue(now=expires_at) == 0

    assert (reread(job).status, reread(job).error_code, alice.credits()) == ("failed", "TIMEOUT", (99, 0))
    assert "was not answered in time" in reread(job).error_message


def test_a_task_that_no_worker_ends_in_time_is_ended(alice: Member) -> None:
    job, began = begun(alice), now()
    claim = claimed(job)
    services.resume(claim, wallclock=MINUTE, now=began)
    stepped(claim, 1)
    over = began + MINUTE + sweeps.GRACE

    assert sweeps.end_overdue(now=over - timedelta(seconds=1)) == 0
    assert sweeps.end_overdue(now=over + timedelta(seconds=1)) == 1

    assert (reread(job).status, reread(job).error_code, alice.credits()) == ("failed", "TIMEOUT", (99, 0))
    with pytest.raises(ClaimLost):
        services.record_step(claim, step(2))


def test_credits_that_are_gone_are_noticed_before_a_browser_is_asked_for(alice: Member) -> None:
    job = begun(alice)
    billing.settle(workspace_id=alice.workspace.id, reference=job.hold_reference, used=0)

    assert not services.resume(claimed(job), wallclock=MINUTE).hold_open


REQUEST = ProvisionRequest(ttl_seconds=120, country="us", os_type="OS_TYPE_MACOS")


def admitted(member: Member, job: Job) -> Agent:
    return agents.admit(workspace_id=member.workspace.id, job_id=job.id, request=REQUEST)


def test_a_task_has_one_browser_that_ends_with_it_and_does_not_count_as_a_burner(alice: Member) -> None:
    job = begun(alice)
    claim = claimed(job)
    agent = admitted(alice, job)
    assert admitted(alice, job) == agent
    Agent.objects.filter(id=agent.id).update(status="running", started_at=now(), expires_at=now() + MINUTE)
    assert burner_count(workspace_id=alice.workspace.id).live == 0

    completion.complete(claim, used=0, result={})

    agent.refresh_from_db()
    assert (agent.status, agent.end_reason, agent.cost_credits) == ("destroyed", "finished", 0)
    assert [entry[0] for entry in alice.events()] == ["agent.destroyed", "job.completed"]


def test_a_workspace_has_so_many_tasks_under_way_and_those_that_go_on_do_not_wait(
    alice: Member, bob: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django.conf.settings.TASKS_PER_WORKSPACE", 1)
    first, second, others = begun(alice), begun(alice), begun(bob)
    claim = claimed(first)
    services.resume(claim, wallclock=MINUTE)

    assert claims.claim(job_id=second.id, owner="w") is None
    assert selectors.next_waiting(lane=TASKS) == others.id
    Job.objects.filter(id=first.id).update(agent_id="agt_1")
    services.ask(claim, step(1), question="Which?")
    assert claims.claim(job_id=second.id, owner="w") is None
    services.respond(workspace_id=alice.workspace.id, job_id=first.id, response="x")
    claimed(second)
    claimed(first, "another")


def test_old_screenshots_go(alice: Member) -> None:
    job = begun(alice)
    for number, days in ((1, 8), (2, 6)):
        made = now() - timedelta(days=days)
        StepScreenshot.objects.create(job=job, step=number, png=b"png", created_at=made)

    assert sweeps.purge_screenshots() == 1
    assert StepScreenshot.objects.get().step == 2
