"""Which event may happen when, and what a row says after it. Without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from apps.jobs.lifecycle import TERMINAL, EventType, IllegalEvent, Status, status_after
from apps.jobs.models import Job
from apps.jobs.projection import FIELDS, Event, fold

BEGUN = datetime(2026, 6, 8, 16, 18, 36, tzinfo=UTC)
STATUSES: tuple[Status, ...] = get_args(Status)
EVENTS: tuple[EventType, ...] = get_args(EventType)

LEGAL: dict[tuple[Status | None, EventType], Status] = {
    (None, "queued"): "queued",
    ("queued", "started"): "running",
    ("queued", "failed"): "failed",
    ("queued", "cancelled"): "cancelled",
    ("running", "attached"): "running",
    ("running", "progress"): "running",
    ("running", "page"): "running",
    ("running", "step"): "running",
    ("running", "cancel_requested"): "running",
    ("running", "requeued"): "queued",
    ("running", "input_requested"): "input_required",
    ("running", "completed"): "completed",
    ("running", "failed"): "failed",
    ("running", "cancelled"): "cancelled",
    ("input_required", "input_responded"): "queued",
    ("input_required", "failed"): "failed",
    ("input_required", "cancelled"): "cancelled",
}


def events(*told: tuple[EventType, dict[str, Any]]) -> list[Event]:
    """With the sequence, fences and times that the service would give them: one a second."""
    listed: list[Event] = []
    fence = 0
    for number, (kind, data) in enumerate([("queued", {"progress_total": 3}), *told], start=1):
        fence += kind == "started"
        listed.append(Event(number, kind, BEGUN + timedelta(seconds=number), fence, data))  # type: ignore[arg-type]
    return listed


STARTED: tuple[EventType, dict[str, Any]] = ("started", {"owner": "a"})
PAGE: tuple[EventType, dict[str, Any]] = ("page", {"position": 0, "credits": 1})


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("current", [None, *STATUSES])
def test_every_pair_of_status_and_event(current: Status | None, event: EventType) -> None:
    if (current, event) in LEGAL:
        assert status_after(current, event) == LEGAL[current, event]
    else:
        with pytest.raises(IllegalEvent):
            status_after(current, event)


def test_nothing_follows_the_end() -> None:
    assert {current for current, _ in LEGAL} == {None, *STATUSES} - TERMINAL


def test_the_model_knows_the_same_statuses_and_has_a_column_for_each_field() -> None:
    assert set(Job.Status.values) == set(STATUSES)
    assert set(FIELDS) <= {field.name for field in Job._meta.get_fields()}


def test_a_whole_life() -> None:
    state = fold(
        events(STARTED, PAGE, ("page", {"credits": 0}), PAGE, ("completed", {"credits_charged": 2, "result": {"n": 3}}))
    )

    assert (state.status, state.last_seq, state.fence, state.owner) == ("completed", 6, 1, "")
    assert (state.progress_done, state.progress_total) == (3, 3)
    assert (state.credits_used, state.credits_charged, state.result) == (2, 2, {"n": 3})
    assert (state.started_at, state.completed_at) == (BEGUN + timedelta(seconds=2), BEGUN + timedelta(seconds=6))


def test_the_first_start_is_when_it_started() -> None:
    state = fold(events(STARTED, ("requeued", {"reason": "lease_expired"}), ("started", {"owner": "b"})))

    assert (state.started_at, state.owner, state.fence) == (BEGUN + timedelta(seconds=2), "b", 2)


def test_attempts_count_abandonments_in_a_row() -> None:
    lost: tuple[EventType, dict[str, Any]] = ("requeued", {"reason": "lease_expired"})
    given_back: tuple[EventType, dict[str, Any]] = ("requeued", {"reason": "worker_stopping"})

    assert fold(events(STARTED, lost, STARTED, lost)).attempts == 2
    assert fold(events(STARTED, lost, STARTED, given_back)).attempts == 1
    assert fold(events(STARTED, lost, STARTED, PAGE)).attempts == 0


def test_steps_and_questions() -> None:
    asked = {"question": "Which one?"}
    told = (STARTED, ("attached", {"agent_id": "agt_1"}), ("step", {"number": 1, "credits": 1}))

    waiting = fold(events(*told, ("input_requested", asked)))  # type: ignore[arg-type]
    answered = fold(events(*told, ("input_requested", asked), ("input_responded", {})))  # type: ignore[arg-type]

    assert (waiting.status, waiting.input_request, waiting.owner) == ("input_required", asked, "")
    assert (waiting.step_count, waiting.progress_done, waiting.credits_used, waiting.agent_id) == (1, 1, 1, "agt_1")
    assert (answered.status, answered.input_request) == ("queued", None)


def test_the_first_wish_to_cancel_counts() -> None:
    state = fold(events(STARTED, ("cancel_requested", {}), ("cancel_requested", {})))

    assert state.cancel_requested_at == BEGUN + timedelta(seconds=3)


def test_gaps_and_wrong_fences_cannot_be_folded() -> None:
    told = events(STARTED, PAGE, PAGE)

    with pytest.raises(IllegalEvent, match="event 4 follows event 2"):
        fold([told[0], told[1], told[3]])
    with pytest.raises(IllegalEvent, match="event 3 has fence 0 after fence 1"):
        fold([*told[:2], Event(3, "page", BEGUN, 0, {})])
    with pytest.raises(IllegalEvent, match="at least one"):
        fold([])
