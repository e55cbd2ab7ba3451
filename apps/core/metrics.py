"""The metrics of `/metrics`: the counts of this process, and values read from the database and the runner.

Counters and histograms count in this API process since its start; sum them over the processes. Gauges describe the
whole installation: every process returns the same values. Apps register their own parts, so that core imports no app.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from django.http import HttpRequest
from django.urls import Resolver404, resolve
from django.utils import timezone
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from apps.core import ticks
from apps.core.beat_schedule import PERIODS

log = logging.getLogger(__name__)

# They would add a second series to each counter, for a format that is not served here.
disable_created_metrics()  # type: ignore[no-untyped-call]
registry = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=registry)
PlatformCollector(registry=registry)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

_requests = Counter("browsa_http_requests", "Requests answered.", ["method", "route", "status"], registry=registry)
_duration = Histogram(
    "browsa_http_request_duration_seconds",
    "From a request's arrival in Django to its response. Long-polls and event streams wait on purpose.",
    ["method", "route"],
    buckets=_SECONDS,
    registry=registry,
)
_failures = Counter("browsa_scrape_failures", "Parts of this page that could not be read.", ["part"], registry=registry)

Counts = Mapping[tuple[str, ...], int]
# A row may be committed some time after its timestamp.
_SETTLING_TIME = timedelta(seconds=30)

# A client may send any method; only these become label values.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def count_request(request: HttpRequest, status: int, seconds: float) -> None:
    """Counts by the route's pattern, not by the path: the path would create a series for each id."""
    match = request.resolver_match
    if match is None:  # refused before it was routed
        with suppress(Resolver404):
            match = resolve(request.path_info)
    route = "unknown" if match is None else f"/{match.route}"
    method = request.method if request.method in _METHODS else "other"
    requests, duration = _series(method, route, status)
    requests.inc()
    duration.observe(seconds)


@functools.cache
def _series(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """Found once for each combination: prometheus_client takes a lock for every look-up of labels."""
    return _requests.labels(method, route, status), _duration.labels(method, route)


def histogram(name: str, help: str, labels: Iterable[str] = (), buckets: tuple[float, ...] = _SECONDS) -> Histogram:
    """A histogram that the app observes itself."""
    return Histogram(name, help, list(labels), buckets=buckets, registry=registry)


Read = Callable[[], Iterable[Metric]]


def register(part: str, read: Read) -> None:
    """`read` is called at each scrape. If it raises, its part is missing and `browsa_scrape_failures` counts it."""
    registry.register(_Part(part, read))


class _Part(Collector):
    def __init__(self, name: str, read: Read) -> None:
        self._name = name
        self._read = read

    def describe(self) -> list[Metric]:
        return []  # nothing is read at registration

    def collect(self) -> Iterator[Metric]:
        try:
            yield from list(self._read())
        except Exception as error:  # one failing part must not hide the others
            _failures.labels(self._name).inc()
            log.warning("a part of the metrics can't be read", extra={"part": self._name, "cause": str(error)[:200]})


def gauge(name: str, help: str, values: Iterable[tuple[tuple[str, ...], float]], labels: Iterable[str] = ()) -> Metric:
    family = GaugeMetricFamily(name, help, labels=list(labels))
    for names, value in values:
        family.add_metric(names, value)
    return family


class NewRowCounter:
    """Counts the rows created since this process started; each scrape reads only the new ones.

    `count` returns the number of rows by labels from a first time (included) to a second (excluded).
    """

    def __init__(
        self, name: str, help: str, labels: Iterable[str], count: Callable[[datetime, datetime], Counts]
    ) -> None:
        self._name, self._help, self._labels, self._count = name, help, list(labels), count
        self._lock = threading.Lock()
        self._until = timezone.now()
        self._totals: dict[tuple[str, ...], int] = {}

    def family(self) -> Metric:
        family = CounterMetricFamily(self._name, self._help, labels=self._labels)
        with self._lock:
            until = max(self._until, timezone.now() - _SETTLING_TIME)
            for labels, count in self._count(self._until, until).items():
                self._totals[labels] = self._totals.get(labels, 0) + count
            self._until = until
            for labels, total in self._totals.items():
                family.add_metric(labels, total)
        return family


def beat() -> Iterator[Metric]:
    now = timezone.now()
    lateness = [((tick.name,), tick.late_by(now).total_seconds()) for tick in ticks.states(PERIODS)]
    yield gauge("browsa_beat_late_seconds", "How late each tick of beat is; 0 when it is on time.", lateness, ["tick"])


register("beat", beat)
