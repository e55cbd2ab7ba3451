"""The ledger against its model, in many more orders of operations than each run of the tests tries."""

from __future__ import annotations

import pytest

from tests.billing.test_ledger_machine import does_what_its_model_does


@pytest.mark.timeout(900)
@pytest.mark.django_db
def test_the_ledger_does_what_its_model_does() -> None:
    does_what_its_model_does(examples=60)
