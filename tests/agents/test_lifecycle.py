"""Which status may follow which, and that only one of many movers wins."""

from __future__ import annotations

from typing import get_args

import pytest
from django.db import transaction

from apps.agents.lifecycle import Status, may_follow
from apps.agents.models import Agent
from apps.agents.services import termination
from apps.agents.services.transitions import move
from apps.core.times import from_unix
from tests.cast import Member, at_once, join
from tests.fakes.runner import FakeRunner

LEGAL = {("queued", "running"), ("queued", "destroyed"), ("queued", "failed"), ("running", "destroyed")}
STATUSES: tuple[Status, ...] = get_args(Status)


@pytest.mark.parametrize("current", STATUSES)
@pytest.mark.parametrize("following", STATUSES)
def test_transitions(current: Status, following: Status) -> None:
    assert may_follow(current, following) == ((current, following) in LEGAL)


def test_every_status_of_the_model_has_its_place() -> None:
    assert set(Agent.Status.values) == set(STATUSES)


@pytest.mark.django_db
def test_an_illegal_move_is_a_bug(alice: Member, runner: FakeRunner) -> None:
    agent = Agent.objects.get(id=alice.burner()["id"])

    with pytest.raises(ValueError, match="from running to failed"):
        move(agent, to="failed")


@pytest.mark.django_db
def test_who_saw_an_old_status_moves_nothing(alice: Member, runner: FakeRunner) -> None:
    agent = Agent.objects.get(id=alice.burner()["id"])
    alice.delete(f"/v1/agents/{agent.id}")
    events = alice.events()

    with transaction.atomic():
        assert not move(agent, to="destroyed", end_reason="crashed")

    assert Agent.objects.get(id=agent.id).end_reason == "deleted"
    assert alice.events() == events


@pytest.mark.django_db(transaction=True)
def test_of_many_who_end_an_agent_one_does(runner: FakeRunner) -> None:
    alice = join("alice")
    agent_id = alice.burner()["id"]

    def end(_: int) -> bool:
        return termination.end(agent=Agent.objects.get(id=agent_id), reason="closed", at=from_unix(0))

    ended = at_once(8, end)

    assert sum(ended) == 1
    assert alice.credits() == (99, 0)
    assert len(alice.events()) == 2
