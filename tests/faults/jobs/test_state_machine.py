"""A job against its model, in many more orders of operations than each run of the tests tries."""

from __future__ import annotations

import pytest

from tests.jobs.test_state_machine import any_order_keeps_everything_together


@pytest.mark.timeout(900)
@pytest.mark.django_db
def test_any_order_of_operations_keeps_the_row_the_events_and_the_books_together() -> None:
    any_order_keeps_everything_together(examples=45)
