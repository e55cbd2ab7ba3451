"""Summarizes the verdicts of the detection harness: the signal of a shape, and the report. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from apps.agents.models import HarnessVerdict

FRESH = timedelta(days=7)  # an older verdict says nothing of a browser of today


class SiteVerdict(NamedTuple):
    """`failed` and `listed` are the names of checks; a site passes when none has failed."""

    name: str
    checks: int
    failed: list[str]
    listed: list[str]

    @property
    def passed(self) -> bool:
        return not self.failed


class Signal(NamedTuple):
    """The verdicts of one run."""

    sites: list[SiteVerdict]
    measured_at: datetime

    @property
    def sites_passed(self) -> int:
        return sum(site.passed for site in self.sites)

    @property
    def pass_rate(self) -> float:
        """From 0 to 1."""
        return self.sites_passed / len(self.sites)


def signal_of(verdicts: Sequence[HarnessVerdict]) -> Signal | None:
    """None without a verdict. All verdicts must be of one run."""
    if not verdicts:
        return None
    sites: dict[str, SiteVerdict] = {}
    for verdict in verdicts:
        before = sites.get(verdict.site, SiteVerdict(verdict.site, 0, [], []))
        failed = [verdict.check_name] if verdict.outcome == HarnessVerdict.Outcome.FAILED else []
        listed = [verdict.check_name] if verdict.outcome == HarnessVerdict.Outcome.LISTED else []
        sites[verdict.site] = SiteVerdict(
            verdict.site, before.checks + 1, before.failed + failed, before.listed + listed
        )
    return Signal(list(sites.values()), verdicts[0].measured_at)


class ShapeTrend(NamedTuple):
    """The runs of one shape, the oldest first, with their Chromium versions."""

    os_type: str
    country: str
    runs: list[tuple[str, Signal]]


def trends(verdicts: Iterable[HarnessVerdict]) -> list[ShapeTrend]:
    """`verdicts` are those of many runs, the oldest first."""
    by_run: dict[Any, list[HarnessVerdict]] = {}
    for verdict in verdicts:
        by_run.setdefault((verdict.os_type, verdict.country, verdict.run_id), []).append(verdict)
    shapes: dict[tuple[str, str], list[tuple[str, Signal]]] = {}
    for (os_type, country, _run), rows in by_run.items():
        if (signal := signal_of(rows)) is not None:
            shapes.setdefault((os_type, country), []).append((rows[0].chromium, signal))
    return [ShapeTrend(*shape, runs) for shape, runs in sorted(shapes.items())]
