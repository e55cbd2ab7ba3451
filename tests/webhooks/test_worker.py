"""A worker as it runs in production delivers, and ends when it is told to."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from apps.webhooks.models import Delivery
from tests.cast import Member
from tests.fakes.receivers import Receivers
from tests.patience import PATIENCE
from tests.processes import worker_process
from tests.webhooks.making import happen, listen, until


@pytest.mark.integration
def test_a_worker_delivers_from_its_start_to_its_end(carol: Member, receivers: Receivers, tmp_path: Path) -> None:
    shop = receivers.answering(200)
    with worker_process(tmp_path, BROWSA_ALLOW_ADDRESSES=f"127.0.0.1:{shop.port}") as worker:
        listen(carol, shop.url())
        events = set(happen(carol, count=50))
        until(lambda: {got.headers["webhook-id"] for got in shop.got} >= events)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE) == 0

    assert not Delivery.objects.exclude(status="delivered").exists(), "what was in the air was recorded"
