"""`manage.py beat_status`."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from apps.core.beat_schedule import PERIODS
from apps.core.models import BeatTick
from apps.core.ticks import run_tick

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("still")]


def status(*arguments: str) -> tuple[str, str]:
    """What was printed, and what it complained of."""
    out = StringIO()
    try:
        call_command("beat_status", *arguments, stdout=out)
    except CommandError as error:
        return out.getvalue(), str(error)
    return out.getvalue(), ""


def all_on_time() -> None:
    for name in PERIODS:
        run_tick(name, lambda: None)


def test_every_tick_has_its_line() -> None:
    all_on_time()

    printed, complaint = status()

    assert complaint == ""
    assert [line.split()[0] for line in printed.splitlines()[1:]] == list(PERIODS)


def test_what_never_ran_is_said() -> None:
    printed, complaint = status()

    assert printed.count("never") == len(PERIODS)
    assert "jobs.reap" in complaint


def test_who_is_late_is_said_and_by_how_much(still: datetime) -> None:
    all_on_time()
    BeatTick.objects.filter(name="jobs.reap").update(finished_at=still - timedelta(seconds=100))

    printed, complaint = status("--json")

    ticks = {tick["tick"]: tick for tick in map(json.loads, printed.splitlines())}
    assert ticks["jobs.reap"]["late_seconds"] == 96  # twice its period of two seconds is no lateness
    assert ticks["jobs.relay"]["late_seconds"] == 0
    assert complaint == "late, failing or never finished: jobs.reap"


def test_a_tick_that_fails_is_named_with_its_error() -> None:
    all_on_time()
    with pytest.raises(ZeroDivisionError):
        run_tick("jobs.reap", lambda: 1 / 0)

    printed, complaint = status()

    assert "ZeroDivisionError" in printed
    assert "jobs.reap" in complaint


def test_every_tick_is_a_task_of_its_name() -> None:
    from browsa.celery import app

    app.loader.import_default_modules()
    assert set(PERIODS) <= set(app.tasks)
    assert set(app.conf.beat_schedule) == set(PERIODS)
