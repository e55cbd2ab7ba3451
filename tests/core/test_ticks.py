"""A beat tick runs once at a time, and is written down."""

from __future__ import annotations

import threading

import pytest

from apps.core.models import BeatTick
from apps.core.ticks import run_tick
from tests.cast import at_once


@pytest.mark.django_db
def test_a_tick_that_raised_is_not_finished() -> None:
    def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_tick("t", fails)
    assert (BeatTick.objects.get().finished_at, BeatTick.objects.get().error) == (None, "ZeroDivisionError")

    run_tick("t", lambda: None)
    assert BeatTick.objects.get().finished_at is not None
    assert BeatTick.objects.get().error == ""


@pytest.mark.django_db(transaction=True)
def test_two_workers_never_run_one_tick_together() -> None:
    all_tried = threading.Barrier(4)

    def tick(number: int) -> bool:
        if number == 0:
            return run_tick("t", lambda: (started.set(), all_tried.wait(10)))
        started.wait(10)
        ran = run_tick("t", lambda: None)
        all_tried.wait(10)
        return ran

    started = threading.Event()
    assert at_once(4, tick) == [True, False, False, False]


@pytest.mark.django_db(transaction=True)
def test_two_ticks_do_not_wait_for_each_other() -> None:
    both = threading.Barrier(2)

    assert at_once(2, lambda number: run_tick(f"t{number}", lambda: both.wait(10))) == [True, True]
