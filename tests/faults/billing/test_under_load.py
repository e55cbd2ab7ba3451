"""Money under load for twenty seconds."""

from __future__ import annotations

import pytest

from tests.billing.spending import spend_and_add_up


@pytest.mark.django_db(transaction=True)
def test_sixty_four_threads_on_one_workspace_for_twenty_seconds_stay_in_the_black() -> None:
    spend_and_add_up(seconds=20)
