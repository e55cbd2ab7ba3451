"""What things cost, as a table."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.billing.pricing import BurnerRate, burner_cost, burner_maximum

HOME = BurnerRate(per_period=1, surcharge=0)
ABROAD = BurnerRate(per_period=2, surcharge=3)


@pytest.mark.parametrize(
    ("rate", "seconds", "most"), [(HOME, 300, 1), (HOME, 600, 1), (HOME, 601, 2), (HOME, 3600, 6), (ABROAD, 601, 7)]
)
def test_the_most_a_burner_can_cost(rate: BurnerRate, seconds: int, most: int) -> None:
    assert burner_maximum(rate, ttl=timedelta(seconds=seconds)) == most


@pytest.mark.parametrize(
    ("rate", "seconds", "our_fault", "cost"),
    [
        (HOME, 0, False, 1),
        (HOME, 0.001, False, 1),
        (HOME, 600, False, 1),
        (HOME, 600.001, False, 2),
        (HOME, -5, False, 1),
        (ABROAD, 1, False, 5),
        (ABROAD, 601, False, 7),
        (HOME, 0, True, 0),
        (HOME, 599.9, True, 0),
        (HOME, 600, True, 1),
        (HOME, -5, True, 0),
        (ABROAD, 1201, True, 4),
    ],
)
def test_what_a_burner_cost(rate: BurnerRate, seconds: float, our_fault: bool, cost: int) -> None:
    assert burner_cost(rate, ran=timedelta(seconds=seconds), our_fault=our_fault) == cost
