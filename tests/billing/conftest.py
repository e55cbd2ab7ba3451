"""Stripe, as far as tests of money need it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.stripe import SECRET_KEY, WEBHOOK_SECRET, FakeStripe
from tests.patience import PATIENCE


@pytest.fixture
def stripe(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeStripe]:
    """Sells credits at 2 cents each, and is waited for."""
    from apps.billing import stripe_api

    for name in ("_CONNECT_SECONDS", "_READ_SECONDS"):
        monkeypatch.setattr(stripe_api, name, PATIENCE)
    with FakeStripe() as fake:
        settings.STRIPE_SECRET_KEY = SECRET_KEY
        settings.STRIPE_WEBHOOK_SECRET = WEBHOOK_SECRET
        settings.STRIPE_API_BASE = fake.base
        settings.CREDIT_PRICE = Decimal(2)
        yield fake
