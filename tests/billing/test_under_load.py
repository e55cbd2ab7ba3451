"""Money under load: many threads on one workspace, in every mix. The run of twenty seconds is in `tests/faults`."""

from __future__ import annotations

import threading

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.billing import services
from apps.billing.models import LedgerEntry
from apps.billing.verification import problems
from tests.billing.spending import NOTHING, spend_and_add_up
from tests.cast import at_once, join
from tests.patience import PATIENCE


@pytest.mark.django_db(transaction=True)
def test_sixty_four_threads_on_one_workspace_for_two_seconds_stay_in_the_black() -> None:
    spend_and_add_up(seconds=2)


@pytest.mark.django_db(transaction=True)
def test_a_repeat_at_the_same_moment_counts_once() -> None:
    alice = join("alice")
    together = threading.Barrier(16)

    def act(number: int) -> None:
        together.wait(PATIENCE)
        services.top_up(workspace_id=alice.workspace.id, amount=10, reference="t", description="")
        services.hold(workspace_id=alice.workspace.id, amount=10, reference="h", source=NOTHING)
        services.settle(workspace_id=alice.workspace.id, reference="h", used=4)

    at_once(16, act)

    assert alice.credits() == (106, 0)
    assert LedgerEntry.objects.filter(workspace=alice.workspace).count() == 5
    assert list(problems()) == []


@pytest.mark.parametrize("prepared", [True, False])
@pytest.mark.django_db(transaction=True)
def test_a_hold_and_its_end_are_two_round_trips_each(prepared: bool, settings: LazySettings) -> None:
    """The lock and what is read under it are one; all that is written is the other."""
    settings.PREPARED_STATEMENTS = prepared
    alice = join("alice")

    def hold_and_settle(reference: str) -> None:
        services.hold(workspace_id=alice.workspace.id, amount=10, reference=reference, source=NOTHING)
        services.settle(workspace_id=alice.workspace.id, reference=reference, used=4)

    hold_and_settle("first")  # prepares the statements
    with CaptureQueriesContext(connection) as asked:
        hold_and_settle("second")

    assert len([query for query in asked if query["sql"] not in ("BEGIN", "COMMIT")]) == 4
    assert alice.credits() == (92, 0)
    assert list(problems()) == []
