"""Reads what a runner reports, and believes no type it has not looked at. Pure."""

from __future__ import annotations

import math
from typing import get_args

from runner.wire import EndReason, LeaseEnded, RunnerReport

_REASONS = get_args(EndReason)
_LATEST = 2**36  # far beyond any date that can be stored


def parse(raw: bytes) -> RunnerReport | None:
    """None when `raw` is no report."""
    try:
        report = RunnerReport.from_json(raw)
    except (ValueError, RecursionError):
        return None
    texts = [report.runner_id, report.boot_id, *(ended.lease_id for ended in report.ended)]
    if not all(isinstance(text, str) and "\x00" not in text and text.isprintable() for text in texts):
        return None
    return report if all(_sound(ended) for ended in report.ended) else None


def _sound(ended: LeaseEnded) -> bool:
    at = ended.ended_at
    if isinstance(at, bool) or not isinstance(at, int | float):
        return False
    return math.isfinite(at) and 0 <= at < _LATEST and ended.reason in _REASONS
