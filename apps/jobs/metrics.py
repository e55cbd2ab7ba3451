"""The jobs' part of `/metrics`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

from django.utils import timezone
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric

from apps.core.metrics import gauge
from apps.jobs import selectors
from apps.jobs.kinds import KINDS, LANES

# An end may be committed some time after the moment that it carries.
_SETTLING_TIME = timedelta(seconds=30)


def read() -> Iterator[Metric]:
    counts = selectors.live_by_kind()
    live = {(state, kind): counts.get((state, kind), 0) for state in selectors.LIVE_STATES for kind in KINDS}
    waits = selectors.longest_waits(now=timezone.now())
    ages = [((lane.queue,), max((waits.get(kind, 0.0) for kind in lane.kinds), default=0.0)) for lane in LANES]
    yield gauge("browsa_jobs", "Jobs that are not over.", list(live.items()), ["state", "kind"])
    yield gauge("browsa_queue_age_seconds", "How long ago the oldest queued job was asked for.", ages, ["queue"])
    yield _ended.family()


class _Ended:
    """Counts jobs that have ended since this process was first asked; each scrape looks only at the newest."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = timezone.now()
        self._totals: dict[tuple[str, str], int] = {}

    def family(self) -> Metric:
        family = CounterMetricFamily("browsa_jobs_ended", "Jobs that ended.", labels=["state", "kind"])
        with self._lock:
            until = max(self._until, timezone.now() - _SETTLING_TIME)
            for key, count in selectors.ended_by_kind(since=self._until, until=until).items():
                self._totals[key] = self._totals.get(key, 0) + count
            self._until = until
            for key, total in self._totals.items():
                family.add_metric(key, total)
        return family


_ended = _Ended()
