"""Tasks that end before a browser is asked for, in a real worker: no model, no browser, no charge."""

from __future__ import annotations

from typing import Any

import pytest

from apps.agents.models import Agent
from apps.billing import services as billing
from apps.jobs.models import Job
from apps.jobs.tasks import services
from apps.jobs.tasks.llm import keys
from tests.cast import Member
from tests.jobs.conftest import Work
from tests.jobs.making import reread

pytestmark = pytest.mark.django_db(transaction=True)

PARAMS: dict[str, Any] = {"task": "x", "max_steps": 7, "wallclock_seconds": 60}


@pytest.fixture
def job(carol: Member) -> Job:
    return services.begin(workspace_id=carol.workspace.id, params=PARAMS, key="sk-1")


def test_a_task_whose_credits_are_gone_fails_with_that(carol: Member, job: Job, work: Work) -> None:
    billing.settle(workspace_id=carol.workspace.id, reference=job.hold_reference, used=0)

    work({"id": str(job.id)})

    assert (reread(job).status, reread(job).error_code) == ("failed", "INSUFFICIENT_CREDIT")
    assert carol.credits() == (100, 0) and not Agent.objects.exists()


def test_a_task_whose_key_is_gone_says_so_in_plain_words(carol: Member, job: Job, work: Work) -> None:
    keys.forget(job_id=job.id)

    work({"id": str(job.id)})

    assert (reread(job).status, reread(job).error_code) == ("failed", "INTERNAL_ERROR")
    assert "The LLM key of this task is not available" in reread(job).error_message
    assert "Nothing was charged" in reread(job).error_message
    assert carol.credits() == (100, 0) and not Agent.objects.exists()
