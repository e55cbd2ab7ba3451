"""What `/metrics` and `/readyz` report about webhooks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client.metrics_core import Metric

from apps.core.metrics import NewRowCounter, gauge
from apps.webhooks import selectors

_attempts = NewRowCounter(
    "browsa_webhook_attempts",
    "Attempts to deliver, by outcome.",
    ["outcome"],
    lambda since, until: selectors.attempts_by_outcome(since=since, until=until),
)


def read() -> Iterator[Metric]:
    pending, oldest = selectors.pending_count(), selectors.oldest_due_seconds()
    yield gauge(
        "browsa_webhook_deliveries_pending", "Deliveries that are neither delivered nor failed.", [((), pending)]
    )
    yield gauge(
        "browsa_webhook_oldest_due_seconds", "How long the oldest unsent delivery has been due.", [((), oldest)]
    )
    yield _attempts.family()


def readiness() -> dict[str, Any]:
    """A detail for the operator. Late deliveries do not make the installation unready: agents still start."""
    return {"oldest_due_seconds": round(selectors.oldest_due_seconds(), 1)}
