"""The jobs' part of `/metrics`."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils import timezone
from prometheus_client.metrics_core import Metric

from apps.core.metrics import NewRowCounter, gauge
from apps.jobs import selectors
from apps.jobs.kinds import KINDS, LANES

_ended = NewRowCounter(
    "browsa_jobs_ended",
    "Jobs that ended.",
    ["state", "kind"],
    lambda since, until: selectors.ended_by_kind(since=since, until=until),
)


def read() -> Iterator[Metric]:
    counts = selectors.live_by_kind()
    live = {(state, kind): counts.get((state, kind), 0) for state in selectors.LIVE_STATES for kind in KINDS}
    waits = selectors.longest_waits(now=timezone.now())
    ages = [((lane.queue,), max((waits.get(kind, 0.0) for kind in lane.kinds), default=0.0)) for lane in LANES]
    yield gauge("browsa_jobs", "Jobs that are not over.", list(live.items()), ["state", "kind"])
    yield gauge("browsa_queue_age_seconds", "How long ago the oldest queued job was asked for.", ages, ["queue"])
    yield _ended.family()
