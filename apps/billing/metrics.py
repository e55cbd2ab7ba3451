"""What `/metrics` reports about holds."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils import timezone
from prometheus_client.metrics_core import Metric

from apps.billing import selectors
from apps.core.metrics import gauge


def read() -> Iterator[Metric]:
    holds = selectors.open_holds(now=timezone.now())
    yield gauge("browsa_ledger_holds", "Open holds.", [((), holds.count)])
    yield gauge("browsa_ledger_held_credits", "Credits in open holds.", [((), holds.credits)])
    yield gauge("browsa_ledger_holds_overdue", "Open holds past their expiry.", [((), holds.overdue)])
