"""A beat tick runs once at a time, and is written down."""

from __future__ import annotations

import threading

import pytest
from celery.signals import beat_init
from kombu.exceptions import OperationalError

from apps.core.models import BeatTick
from apps.core.ticks import run_tick
from browsa.celery import clock
from tests.cast import at_once
from tests.patience import PATIENCE


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
            return run_tick("t", lambda: (started.set(), all_tried.wait(PATIENCE)))
        assert started.wait(PATIENCE)
        ran = run_tick("t", lambda: None)
        all_tried.wait(PATIENCE)
        return ran

    started = threading.Event()
    assert at_once(4, tick) == [True, False, False, False]


@pytest.mark.django_db(transaction=True)
def test_two_ticks_do_not_wait_for_each_other() -> None:
    both = threading.Barrier(2)

    assert at_once(2, lambda number: run_tick(f"t{number}", lambda: both.wait(PATIENCE))) == [True, True]


def test_beat_begins_with_a_tick_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, int]] = []
    monkeypatch.setattr(clock, "send_task", lambda name, expires: sent.append((name, expires)))

    assert [result for _, result in beat_init.send(sender=None)] == [None]

    assert sent == [(tick["task"], tick["options"]["expires"]) for tick in clock.conf.beat_schedule.values()]
    assert ("agents.expire", 4) in sent


def test_beat_begins_without_a_broker_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: object, **kwargs: object) -> None:
        raise OperationalError("no Redis")

    monkeypatch.setattr(clock, "send_task", away)

    assert [result for _, result in beat_init.send(sender=None)] == [None], "nothing was raised"
