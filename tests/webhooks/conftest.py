"""What tests of webhooks share: receivers, a workspace with webhooks, and a deliverer in this process."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.conf import LazySettings

from addresses.policy import parse_allow_list
from tests.cast import Member, join
from tests.fakes.receivers import Receivers
from tests.patience import PATIENCE


@pytest.fixture
def receivers() -> Iterator[Receivers]:
    with Receivers() as running:
        yield running


@pytest.fixture
def loopback(settings: LazySettings) -> None:
    """The operator lets webhooks lead to this machine."""
    settings.ALLOW_ADDRESSES = parse_allow_list("127.0.0.1")


@pytest.fixture
def carol(transactional_db: None) -> Member:
    """Has a workspace that all connections see."""
    return join("carol")


@pytest.fixture
def attempt_seconds() -> float:
    """What an attempt may take. A machine that stands still for a while must not make one fail."""
    return PATIENCE


@pytest.fixture
def deliverer(carol: Member, loopback: None, attempt_seconds: float, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Delivers until the test ends."""
    from apps.webhooks.deliverer import Deliverer
    from apps.webhooks.services import delivery_claims

    monkeypatch.setattr(delivery_claims, "CLAIM_TIME", timedelta(seconds=10 * PATIENCE))
    running = Deliverer(seconds=attempt_seconds)
    running.start()
    yield
    running.stop(grace=PATIENCE)
